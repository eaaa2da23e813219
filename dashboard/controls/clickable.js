// Draws strips of tokens as dashboard/tokens.py does; a click on a token toggles its whole word.
// The first strip's tokens are buttons, so that each word is met once by keyboard; the other strips
// follow the pointer. Texts go in by textContent only.
const drawn = new WeakMap();

export default function ({ data, parentElement, setStateValue }) {
  if (drawn.get(parentElement) === data.number) return;
  drawn.set(parentElement, data.number);
  const root = parentElement.querySelector(".u-strips");
  const chosen = new Set(data.chosen);
  root.replaceChildren(...data.strips.map((strip, place) => line(strip, place === 0)));
  show(root, chosen);
  root.onclick = (event) => {
    const word = event.target.closest("[data-word]")?.dataset.word;
    if (word === undefined) return;
    if (!chosen.delete(word)) chosen.add(word);
    show(root, chosen);
    setStateValue("clicked", { number: data.number, words: [...chosen] });
  };
}

function show(root, chosen) {
  for (const part of root.querySelectorAll("[data-word]")) {
    const on = chosen.has(part.dataset.word);
    part.classList.toggle("u-chosen", on);
    if (part.tagName === "BUTTON") part.setAttribute("aria-pressed", String(on));
  }
}

function line(strip, buttons) {
  const head = element("div", "u-run");
  const mark = element("i", `u-swatch u-${strip.symbol}`);
  mark.style.background = strip.color;
  head.append(mark, element("b", "", strip.label), element("small", "", strip.logprob));
  const tokens = element("div", "u-tokens");
  tokens.setAttribute("role", "list");
  tokens.setAttribute("aria-label", strip.label);
  tokens.append(...strip.cells.map((cell) => token(cell, buttons)));
  const drawnLine = element("div", "u-strip");
  drawnLine.append(head, tokens);
  return drawnLine;
}

function token(cell, buttons) {
  const whole = element("span", cell.kinds);
  whole.setAttribute("role", "listitem");
  whole.title = cell.title;
  whole.style.minWidth = cell.width;
  if (cell.score !== null) whole.dataset.score = cell.score;
  const text = element(buttons && cell.word !== null ? "button" : "span", "u-text", cell.text);
  text.style.background = cell.shade;
  if (cell.word !== null) {
    text.dataset.word = cell.word;
    text.classList.add("u-pick");
  }
  if (text.tagName === "BUTTON") {
    text.type = "button";
    text.setAttribute("aria-label", `Emphasise ${cell.word}`);
  }
  whole.append(text, element("small", "", cell.value));
  return whole;
}

function element(name, kinds, text = "") {
  const made = document.createElement(name);
  made.className = kinds;
  made.textContent = text;
  return made;
}
