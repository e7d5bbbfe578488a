// Messages of the live connection as bytes: a 4-byte length, a JSON header, then a picture or sound.
// The kinds and their fields are listed in personalive_core/live/protocol.py.

export const VERSION = 1;
const LENGTH = 4;
const MOST_HEADER = 4096; // bytes of a header
const NOTHING = new Uint8Array(0);

/** JSON in ASCII alone, as the server writes it: a text's length in bytes is its length. */
function asciiJson(value) {
  const escaped = (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, escaped);
}

/** A message as a Uint8Array. `payload`: a Uint8Array or ArrayBuffer. Throws RangeError for too long a header. */
export function pack(kind, fields = {}, payload = NOTHING) {
  const header = new TextEncoder().encode(asciiJson({ kind, ...fields }));
  if (header.length > MOST_HEADER) {
    throw new RangeError(`a header has at most ${MOST_HEADER} bytes, not ${header.length}`);
  }
  const bytes = new Uint8Array(LENGTH + header.length + payload.byteLength);
  new DataView(bytes.buffer).setUint32(0, header.length);
  bytes.set(header, LENGTH);
  bytes.set(payload instanceof Uint8Array ? payload : new Uint8Array(payload), LENGTH + header.length);
  return bytes;
}

/** {kind, fields, payload} of an ArrayBuffer; the payload is a view of it. Throws TypeError for anything else. */
export function unpack(buffer) {
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength < LENGTH) throw new TypeError("a message is too short");
  const length = new DataView(buffer).getUint32(0);
  if (length > Math.min(MOST_HEADER, buffer.byteLength - LENGTH)) throw new TypeError("a header is cut off");
  let header = null;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(buffer, LENGTH, length)));
  } catch {
    throw new TypeError("a header is no JSON");
  }
  const { kind, ...fields } = header ?? {};
  if (typeof kind !== "string") throw new TypeError("a header has no kind");
  return { kind, fields, payload: new Uint8Array(buffer, LENGTH + length) };
}
