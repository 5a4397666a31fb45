// A native status as a JavaScript error: `error.native = { code, index, value, kernel }`. lib/binding turns it into the
// typed classes of lib/errors.ts.
#pragma once
#include <napi.h>

#include "../core/status.h"

namespace osc {

inline Napi::Error status_error(Napi::Env env, const Status& status, const char* kernel) {
  const Napi::Error error = Napi::Error::New(env, status.message);
  const Napi::Object facts = Napi::Object::New(env);
  facts.Set("code", Napi::Number::New(env, status.code));
  facts.Set("index", Napi::Number::New(env, static_cast<double>(status.index)));
  facts.Set("value", Napi::Number::New(env, status.value));
  facts.Set("kernel", Napi::String::New(env, kernel));
  error.Set("native", facts);
  return error;
}

}  // namespace osc
