#include "blas.h"

#include <cstdio>
#include <mutex>

extern "C" {
void openblas_set_num_threads(int count);
char* openblas_get_config(void);
char* openblas_get_corename(void);
}

namespace osc {

void initialize_blas() {
  static std::once_flag once;
  std::call_once(once, [] { openblas_set_num_threads(1); });
}

const char* blas_description() {
  static char text[256];
  static std::once_flag once;
  std::call_once(once, [] {
    std::snprintf(text, sizeof text, "%s (running on %s)", openblas_get_config(), openblas_get_corename());
  });
  return text;
}

}  // namespace osc
