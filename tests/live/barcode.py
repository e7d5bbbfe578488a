"""A clip whose every frame tells its number, for Chromium's fake camera, and the script that reads it in a page."""

import io

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 640, 480
SIDE, COLUMNS = 60, 4  # 4 × 4 blocks of 60 pixels in the middle, so that a square crop keeps them
LEFT, TOP = (WIDTH - COLUMNS * SIDE) // 2, (HEIGHT - COLUMNS * SIDE) // 2
NUMBERS = 1 << 12  # 12 blocks are the number, 4 its check


def code_of(number):
    """The 16 bits of a number below 4096: a misread block, or two frames mixed, do not fit their check."""
    check = (number * 7 + (number >> 4) * 5 + (number >> 8) * 3 + 9) % 16
    return number << 4 | check


def barcode(number, width=WIDTH, height=HEIGHT):
    """The picture of a number: [height, width, 3] uint8. Blocks from the top left, highest bit first, white is 1."""
    picture = np.full((height, width, 3), (70, 90, 110), np.uint8)
    for bit in range(16):
        row, column = divmod(bit, COLUMNS)
        y, x = TOP + row * SIDE, LEFT + column * SIDE
        picture[y : y + SIDE, x : x + SIDE] = 255 if code_of(number) >> (15 - bit) & 1 else 0
    return picture


def number_in(picture):
    """The number of a picture [H, W, 3]: the whole frame, or its middle square. None if it does not fit its check."""
    height, width = picture.shape[:2]
    scale = height / HEIGHT
    code = 0
    for bit in range(16):
        row, column = divmod(bit, COLUMNS)
        y = (TOP + (row + 0.5) * SIDE) * scale
        x = width / 2 + (column + 0.5 - COLUMNS / 2) * SIDE * scale
        code = code << 1 | int(picture[int(y), int(x)].mean() > 127)
    return code >> 4 if code_of(code >> 4) == code else None


def write_clip(path, frames):
    """Writes numbers 0 ... frames - 1 as Motion JPEG, which Chromium plays at 30 frames a second, again and again."""
    with path.open("wb") as clip:
        for number in range(frames):
            piece = io.BytesIO()
            Image.fromarray(barcode(number)).save(piece, "JPEG", quality=90)
            clip.write(piece.getvalue())


# Measures in the page, apart from the panel's own code: when the camera gave a number, and when the result shows it.
MEASURE = """() => {
  const [SIDE, COLUMNS, HEIGHT] = [60, 4, 480];
  const small = new OffscreenCanvas(1, 1);
  const context = small.getContext("2d", { willReadFrequently: true });
  const read = (source, width, height) => {
    const scale = height / HEIGHT;
    small.width = small.height = 60;
    const span = COLUMNS * SIDE * scale;
    context.drawImage(source, (width - span) / 2, (height - span) / 2, span, span, 0, 0, 60, 60);
    const { data } = context.getImageData(0, 0, 60, 60);
    let code = 0;
    for (let bit = 0; bit < 16; bit += 1) {
      const [row, column] = [Math.floor(bit / 4), bit % 4];
      code = code << 1 | Number(data[((row * 15 + 7) * 60 + column * 15 + 7) * 4 + 1] > 127);
    }
    const number = code >> 4;
    return (number * 7 + (number >> 4) * 5 + (number >> 8) * 3 + 9) % 16 === code % 16 ? number : null;
  };
  const video = document.querySelector(".personalive-live-driving video");
  const canvas = document.querySelector(".personalive-live-result canvas");
  const seen = { captured: new Map(), shown: [], misread: 0, camera: 0, last: null, withTimes: 0 };
  window.seen = seen;
  const frame = (now, { captureTime }) => {
    video.requestVideoFrameCallback(frame);
    seen.camera += 1;
    seen.withTimes += captureTime !== undefined;
    const number = read(video, video.videoWidth, video.videoHeight);
    if (number !== null) seen.captured.set(number, captureTime ?? now);
  };
  video.requestVideoFrameCallback(frame);
  const look = () => {
    const at = performance.now(); // once all that draws in this frame has drawn
    if (canvas.width < 64) return;
    const number = read(canvas, canvas.width, canvas.height);
    if (number === null) seen.misread += 1;
    if (number === null || number === seen.last) return;
    seen.last = number;
    if (seen.captured.has(number)) seen.shown.push({ number, at, delay: at - seen.captured.get(number) });
  };
  const channel = new MessageChannel();
  channel.port1.onmessage = look;
  const tick = () => {
    requestAnimationFrame(tick);
    channel.port2.postMessage(0);
  };
  tick();
}"""
