// Synchronises a second video with a first: pure arithmetic in seconds.

/** A lag too small to see: half a frame at 25 frames per second. */
const UNSEEN = 0.02;

/** From this lag on, seek: a changed playback rate would take too long. */
const TOO_FAR = 0.5;

/** The driving video's time that belongs to the result's time `seconds`, limited to its duration. */
export function drivingTime(seconds, start, duration) {
  return Math.min(start + seconds, duration);
}

/**
 * Returns {seek, rate} for a video that is `lag` seconds behind (negative: ahead). A small lag is corrected by the
 * playback rate, because seeking stalls the picture. `exact` seeks at once.
 */
export function catchUp(lag, exact) {
  const distance = Math.abs(lag);
  if (distance < UNSEEN) return { seek: false, rate: 1 };
  if (exact || distance > TOO_FAR) return { seek: true, rate: 1 };
  return { seek: false, rate: 1 + lag };
}
