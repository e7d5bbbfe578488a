// The height of the player: its films are shown as large as the node is wide.

/** Height in pixels of the bar with the buttons below the films, and of the gap above it. */
const BAR = 30;

/** Pixels between two films. */
const GAP = 4;

/** A portrait film in a wide node must not fill the screen. */
const MOST = 900;

/** The height in pixels of films side by side over the bar. `aspects` are width / height of each. */
export function playerHeight(width, aspects) {
  const each = (width - GAP * (aspects.length - 1)) / aspects.length;
  const highest = Math.max(...aspects.map((aspect) => each / (aspect > 0 ? aspect : 1)));
  return Math.round(Math.min(highest, MOST)) + BAR;
}
