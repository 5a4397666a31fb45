/** The longest time in ms that a 1 ms timer was kept waiting while `body` ran. */
export async function longestPause(body: () => Promise<void>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  const note = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(note, 1);
  try {
    await body();
    note();
  } finally {
    clearInterval(timer);
  }
  return longest;
}
