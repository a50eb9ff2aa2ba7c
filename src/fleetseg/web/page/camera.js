// Live labelling: camera frames over the stream, two on their way at once, each shown with its own classes.

import { plane, streamProtocols } from "./api.js";

/** Longer side of the frames that are sent; the network sees about as many pixels. */
const LONGEST = 640;
const ON_THE_WAY = 2;

export class Camera {
  /** `onFrame(canvas, answer, numbers)`, `onError(sentence)`, `onEnd()`; `choice()` gives what to ask for. */
  constructor({ onFrame, onError, onEnd, choice }) {
    Object.assign(this, { onFrame, onError, onEnd, choice });
    this.sent = new Map();
    this.next = 0;
    this.running = false;
    this.times = [];
  }

  async start() {
    const media = await openCamera();
    if (this.ended) return media.getTracks().forEach((track) => track.stop()); // stopped while it was being allowed
    this.media = media;
    this.video = Object.assign(document.createElement("video"), { srcObject: this.media, muted: true, playsInline: true });
    await this.video.play();
    for (const track of this.media.getTracks()) {
      track.addEventListener("ended", () => this.#fail("The camera went away."));
    }
    const address = new URL("/v1/stream", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address, streamProtocols());
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("message", ({ data }) => this.#receive(data));
    this.socket.addEventListener("close", (event) => this.#fail(closedBecause(event)));
    this.socket.addEventListener("open", () => {
      this.running = true;
      this.#tell();
      this.#capture();
    });
  }

  stop() {
    this.running = false;
    this.ended = true;
    this.socket?.close();
    this.media?.getTracks().forEach((track) => track.stop());
    this.onEnd();
  }

  #fail(sentence) {
    if (this.ended) return;
    this.stop();
    this.onError(sentence);
  }

  /** Tell the service the choice, if it is another than before. */
  #tell() {
    const text = JSON.stringify(this.choice());
    if (text !== this.told) this.socket.send((this.told = text));
  }

  async #capture() {
    while (this.running && this.sent.size < ON_THE_WAY) {
      const frame = grab(this.video);
      const number = this.next++;
      this.sent.set(number, { frame, at: performance.now() });
      const blob = await new Promise((resolve) => frame.toBlob(resolve, "image/jpeg", 0.85));
      if (!this.running || this.socket.readyState !== WebSocket.OPEN) return;
      this.sent.get(number).blob = blob;
      this.#tell();
      this.socket.send(blob);
    }
  }

  async #receive(data) {
    if (typeof data === "string") {
      const { frame, dropped, problem } = JSON.parse(data);
      if (frame !== undefined) this.sent.delete(frame);
      if (problem && problem.status !== 429) return this.#fail(`${problem.title}: ${problem.detail}.`);
      if (problem) await new Promise((resolve) => setTimeout(resolve, 500));
      if (dropped || problem) this.#capture();
      return;
    }
    const { facts, mask, certainty } = unpacked(data);
    const sent = this.sent.get(facts.frame);
    this.sent.delete(facts.frame);
    this.#capture();
    const classes = await plane(mask);
    const confidence = certainty ? await plane(certainty) : null;
    if (!this.running || !sent) return;
    this.onFrame(sent.frame, { facts, classes, confidence }, { round: performance.now() - sent.at, fps: this.#rate() }, sent.blob);
  }

  /** Answers per second over the last two seconds. */
  #rate() {
    const now = performance.now();
    this.times = [...this.times.filter((time) => now - time < 2000), now];
    const span = now - this.times[0];
    return span > 200 ? (1000 * (this.times.length - 1)) / span : 0;
  }
}

async function openCamera() {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers give cameras to pages on this machine or over HTTPS only; open this one as localhost.");
  }
  const video = { facingMode: "environment", width: { ideal: 640 }, height: { ideal: 360 } };
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (error) {
    const reasons = {
      NotAllowedError: "The camera was not allowed; allow it in the browser's address bar.",
      NotFoundError: "No camera was found.",
      NotReadableError: "The camera is in use by another program.",
    };
    throw new Error(reasons[error.name] ?? `The camera cannot be used (${error.message}).`);
  }
}

function grab(video) {
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(video.videoWidth * scale));
  canvas.height = Math.max(1, Math.round(video.videoHeight * scale));
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const start = 4 + length, end = start + facts.mask_bytes;
  const png = (from, to) => new Blob([buffer.slice(from, to)], { type: "image/png" });
  return { facts, mask: png(start, end), certainty: end < buffer.byteLength ? png(end) : null };
}

function closedBecause({ code, reason }) {
  if (code === 1013) return `The service has no room for another stream: ${reason}.`;
  if (code === 1001) return "The service is ending.";
  return reason ? `The stream ended: ${reason}.` : "The stream ended; is the service still running?";
}
