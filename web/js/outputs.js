// Reads the pack's own part of a node's output: the server sends it as JSON in a key, so that no queue counts it.

const OURS = /^(personalive_\w+) (.*)$/s;

/** {panel name: value} of an output as the server sends it. What cannot be read is left out. */
export function panelOutputs(output) {
  const found = Object.keys(output ?? {}).map((key) => OURS.exec(key)).filter((match) => match !== null);
  return Object.fromEntries(found.map(([, name, text]) => [name, JSON.parse(text)]));
}
