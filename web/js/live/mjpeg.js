// The address of the result as Motion JPEG, for OBS's browser source.

import { fill } from "../strings.js";

/** That of the session whose page connects to `socketUrl` with `token`. */
export function mjpegAddress(socketUrl, token) {
  const url = new URL(socketUrl.replace(/^ws/u, "http"));
  url.pathname += "/mjpeg";
  url.searchParams.set("token", token);
  return url.href;
}

/** Copies the address; returns what to say. Pages without TLS have no clipboard: then the address itself is said. */
export async function copied(address, words) {
  try {
    await navigator.clipboard.writeText(address);
    return words.addressCopied;
  } catch {
    return fill(words.addressShown, { address });
  }
}
