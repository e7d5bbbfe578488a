// The page's cameras and microphone: their list, opening them, and the words for what can go wrong.

/** Why a device could not be had: `word` is a key of the live words, `what` the browser's own reason. */
export class DeviceProblem extends Error {
  constructor(word, what) {
    super(what);
    this.word = word;
  }
}

const PROBLEMS = {
  NotAllowedError: "Refused",
  SecurityError: "Refused",
  NotFoundError: "None",
  OverconstrainedError: "None",
  NotReadableError: "Busy",
  AbortError: "Busy",
};

/** The problem of `device` ("camera" or "microphone") that `error` of getUserMedia means. */
export function problemOf(device, error) {
  return new DeviceProblem(`${device}${PROBLEMS[error.name] ?? "Failed"}`, error.message || error.name);
}

async function open(device, constraints) {
  const { mediaDevices } = navigator;
  if (!mediaDevices?.getUserMedia) throw new DeviceProblem("insecure", "no mediaDevices");
  try {
    return await mediaDevices.getUserMedia(constraints);
  } catch (error) {
    throw problemOf(device, error);
  }
}

/** A stream of the camera with this id, or of any if it is empty, 640×480 where it can. Throws DeviceProblem. */
export function openCamera(id) {
  const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 60, min: 15 } };
  return open("camera", { video: id ? { ...wanted, deviceId: { exact: id } } : wanted });
}

/** A stream of the microphone as it is, without the changes that suit calls. Throws DeviceProblem. */
export function openMicrophone() {
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  return open("microphone", { audio: plain });
}

/** Ends a stream: the device's light goes out. */
export function closeStream(stream) {
  for (const track of stream?.getTracks() ?? []) {
    track.onended = null;
    track.stop();
  }
}

/** The cameras: [{id, label}]. Before the first permission, browsers give neither: [{id: "", label: ""}]. */
export async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices
    .filter(({ kind }) => kind === "videoinput")
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
}
