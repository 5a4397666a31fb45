// The OS threads that share the blocks of a launch.
#pragma once

namespace osc::emulator {

// Runs part(data) on `threads` OS threads at once, this one among them. One call at a time.
void run_with_helpers(int threads, void (*part)(void*), void* data);

}  // namespace osc::emulator
