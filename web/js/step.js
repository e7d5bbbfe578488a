// Keeping a second video in step with a first: pure arithmetic on seconds.

/** A lag the eye does not see: half a frame at 25 frames a second. */
const UNSEEN = 0.02;

/** A lag beyond which playing faster would take too long. */
const TOO_FAR = 0.5;

/** Where in the driving the result's time `seconds` is, at most its end. */
export function drivingTime(seconds, start, duration) {
  return Math.min(start + seconds, duration);
}

/**
 * What a video that is `lag` seconds behind (or ahead, below 0) does: {seek, rate}. While it plays a small lag is
 * made up by its speed, because seeking halts the picture; `exact` seeks at once.
 */
export function catchUp(lag, exact) {
  const distance = Math.abs(lag);
  if (distance < UNSEEN) return { seek: false, rate: 1 };
  if (exact || distance > TOO_FAR) return { seek: true, rate: 1 };
  return { seek: false, rate: 1 + lag };
}
