// Gathers the microphone's samples into pieces of a tenth of a second, in the audio thread. Elsewhere it does nothing.

if (globalThis.registerProcessor) {
  const { AudioWorkletProcessor, registerProcessor, sampleRate } = globalThis;

  registerProcessor(
    "personalive-sound",
    class extends AudioWorkletProcessor {
      #samples = [];
      #start = 0;

      process([[channel]]) {
        if (channel === undefined) return true;
        if (this.#samples.length === 0) this.#start = globalThis.currentTime;
        this.#samples.push(...channel);
        if (this.#samples.length < sampleRate / 10) return true;
        const piece = { start: this.#start, samples: new Float32Array(this.#samples) };
        this.#samples = [];
        this.port.postMessage(piece, [piece.samples.buffer]);
        return true;
      }
    },
  );
}
