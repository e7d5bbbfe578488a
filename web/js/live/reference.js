// Another reference for a live session: a picture that is dropped, chosen from the disk, or taken from the graph.

import { fill } from "../strings.js";
import { fillSelect } from "./view.js";

const TYPES = new Set(["image/jpeg", "image/png", "image/webp"]);
const MOST_SIDE = 4096; // pixels of a picture that is encoded anew
const QUALITY = 0.95;

/** The size within `most` pixels a side. */
export function fitted(width, height, most = MOST_SIDE) {
  const scale = Math.min(1, most / Math.max(width, height));
  return [Math.round(width * scale), Math.round(height * scale)];
}

async function encodedAnew(blob) {
  const picture = await createImageBitmap(blob);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = fitted(picture.width, picture.height);
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}

/** The bytes of a Blob to send: as they are if the server takes them, else as a JPEG. Throws for what is no picture. */
async function bytesOf(blob, most) {
  const sent = TYPES.has(blob.type) && blob.size <= most ? blob : await encodedAnew(blob);
  return new Uint8Array(await sent.arrayBuffer());
}

/** The Blob of a picture at an address of this page's own server; null for any other. */
async function fetched(address) {
  const url = new URL(address, location.href);
  if (url.origin !== location.origin) return null;
  const response = await fetch(url);
  return response.ok ? response.blob() : null;
}

/**
 * Binds file choice, the graph's pictures, and `area`, onto which a picture may be dropped. `send(bytes, blob)` sends
 * one and says whether it could, `note(text, tone)` tells, `most()` is the server's limit in bytes, `graphImages()`
 * gives [{name, url}].
 */
export function bindReference({ area, root, file, choose, graph }, words, { send, note, most, graphImages }) {
  const use = async (blob, name) => {
    try {
      if (send(await bytesOf(blob, most()), blob)) note(words.pictureSent, "wait");
    } catch {
      note(fill(words.pictureUnread, { name }), "bad");
    }
  };
  const useAddress = async (address, name) => {
    const blob = await fetched(address).catch(() => null);
    if (blob === null) note(fill(words.pictureUnread, { name }), "bad");
    else await use(blob, name);
  };
  const zone = root.querySelector(".personalive-live-drop");
  const over = (event) => {
    event.preventDefault();
    event.stopPropagation(); // ComfyUI would load the picture as a workflow
    zone.dataset.over = "";
  };
  area.addEventListener("dragover", over);
  area.addEventListener("dragleave", () => delete zone.dataset.over);
  area.addEventListener("drop", (event) => {
    over(event);
    delete zone.dataset.over;
    const [dropped] = event.dataTransfer.files;
    const address = event.dataTransfer.getData("text/uri-list").split("\n")[0].trim();
    if (dropped) use(dropped, dropped.name);
    else if (address) useAddress(address, address.split("/").at(-1));
  });
  choose.onclick = () => file.click();
  file.onchange = () => {
    const [chosen] = file.files;
    if (chosen) use(chosen, chosen.name);
    file.value = ""; // so that the same file can be chosen again
  };
  const list = () => {
    const images = graphImages?.() ?? [];
    graph.hidden = images.length === 0;
    const choices = images.map(({ name, url }) => ({ value: url, text: name }));
    fillSelect(graph, [{ value: "", text: `${words.graphPicture}…` }, ...choices]);
  };
  graph.addEventListener("pointerdown", list);
  graph.addEventListener("focus", list);
  graph.onchange = () => {
    const { value, selectedOptions } = graph;
    if (value) useAddress(value, selectedOptions[0].textContent);
    graph.value = "";
  };
  list();
}
