#include "library.h"

#include <dlfcn.h>

#include <cstdio>

namespace osc {

void* open_library(const char* path, char* reason, size_t reason_bytes) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!library) {
    const char* error = dlerror();
    std::snprintf(reason, reason_bytes, "%s", error ? error : "dlopen failed");
  }
  return library;
}

void* library_symbol(void* library, const char* name) { return dlsym(library, name); }

}  // namespace osc
