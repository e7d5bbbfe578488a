// Asks for previews of what the widgets say: one at a time, always of the newest values, and only of changed ones.

/** Milliseconds until the next try while a workflow runs. */
const BUSY_MS = 500;

/**
 * `read()` gives what is to be drawn; `ask(token, asked)` resolves to {picture}, {error}, {busy}, {over} or {again};
 * `show(answer)` shows each of these, and {drawing: true} before. `now()` is in milliseconds.
 * Returns {begin(token, drawn), tick(), end()}: `drawn(asked)` says whether a run has drawn it; call `tick` often.
 */
export function previewLoop({ read, ask, show, now }) {
  let [token, done, asking, after] = [null, null, false, 0];

  const take = (answer, key, of) => {
    asking = false;
    if (of !== token) return; // another run has begun meanwhile
    if (answer.busy) after = now() + BUSY_MS;
    else if (!answer.again) done = key;
    if (answer.over) token = null;
    show(answer);
  };

  return {
    begin(next, drawn) {
      const asked = read();
      [token, after] = [next, 0];
      done = drawn(asked) ? JSON.stringify(asked) : null;
    },
    tick() {
      if (token === null || asking || now() < after) return;
      const [asked, of] = [read(), token];
      const key = JSON.stringify(asked);
      if (key === done) return;
      asking = true;
      show({ drawing: true });
      ask(of, asked).then((answer) => take(answer, key, of));
    },
    end() {
      token = null;
    },
  };
}
