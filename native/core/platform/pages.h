// Whole pages from the operating system, huge ones where it has them.
#pragma once
#include <cstddef>

namespace osc {

void* map_pages(size_t bytes);  // page-aligned; null when there is no memory
void unmap_pages(void* pages, size_t bytes);

}  // namespace osc
