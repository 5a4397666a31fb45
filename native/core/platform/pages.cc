#include "pages.h"

#include <sys/mman.h>

namespace osc {

void* map_pages(size_t bytes) {
  void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
#ifdef MADV_HUGEPAGE
  madvise(pages, bytes, MADV_HUGEPAGE);  // advice only: failure changes nothing but speed
#endif
  return pages;
}

void unmap_pages(void* pages, size_t bytes) { munmap(pages, bytes); }

}  // namespace osc
