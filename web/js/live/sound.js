// Sends the microphone's sound in int16 pieces with their times, while something is recorded with sound.

import { closeStream, openMicrophone } from "./camera.js";
import { soundTime } from "./pacing.js";

const OFFSETS = 50; // of the two clocks that are remembered: five seconds
const MOST_RATE = 96000; // Hz, the highest that the server records
const USUAL_RATE = 48000;

/** Samples from -1 to 1 as int16 in the byte order of the protocol, which is little-endian. */
export function toInt16(samples) {
  const bytes = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, index) => {
    const limited = Math.max(-1, Math.min(1, sample));
    bytes.setInt16(index * 2, Math.round(limited * 32767), true);
  });
  return new Uint8Array(bytes.buffer);
}

/** A context at the sound device's own rate, or at the usual one where that is higher than films have. */
function openContext() {
  const context = new AudioContext();
  if (context.sampleRate <= MOST_RATE) return context;
  context.close();
  return new AudioContext({ sampleRate: USUAL_RATE });
}

/**
 * Opens the microphone and calls `send({time, rate, channels}, bytes)` for every piece: `time` of its first sample on
 * performance.now's clock in seconds. Returns a function that stops it. Throws DeviceProblem.
 */
export async function sendSound(send) {
  const stream = await openMicrophone();
  let [context, source] = [null, null];
  try {
    context = openContext();
    await context.audioWorklet.addModule(new URL("./sound_worklet.js", import.meta.url).href);
    await context.resume();
    source = context.createMediaStreamSource(stream); // not every browser changes rates
  } catch (error) {
    closeStream(stream);
    context?.close();
    throw error;
  }
  const latency = stream.getAudioTracks()[0].getSettings().latency ?? 0;
  const node = new AudioWorkletNode(context, "personalive-sound", { channelCount: 1, channelCountMode: "explicit" });
  let [offsets, end] = [[], null];
  node.port.onmessage = ({ data: { start, samples } }) => {
    const offset = performance.now() / 1000 - context.currentTime; // late by the message's way: the least is the best
    offsets = [...offsets, offset].slice(-OFFSETS);
    const measured = start + Math.min(...offsets) - latency;
    const time = soundTime(end, measured);
    end = time + samples.length / context.sampleRate;
    send({ time, rate: context.sampleRate, channels: 1 }, toInt16(samples));
  };
  source.connect(node);
  node.connect(context.destination); // it gives silence; without a way out it would not be run
  return () => {
    node.port.onmessage = null;
    closeStream(stream);
    context.close();
  };
}
