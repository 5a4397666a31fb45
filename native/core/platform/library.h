// Shared libraries opened at run time.
#pragma once
#include <cstddef>

namespace osc {

// Opens a library by path or soname, its symbols private to it; null with the reason. It stays open for good: threads and
// device contexts that it made may outlive every caller.
void* open_library(const char* path, char* reason, size_t reason_bytes);
void* library_symbol(void* library, const char* name);  // null when there is none

}  // namespace osc
