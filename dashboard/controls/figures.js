// Puts a second button beside plotly's own download: the same figure as SVG. Plotly reads the format
// when its button is pressed, so that one is pressed with the format changed for that moment.
const MARK = "data-unpact-svg";

export default function () {
  let waiting = false;
  const scan = () => {
    waiting = false;
    document.querySelectorAll(".js-plotly-plot").forEach(add);
  };
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(scan);
  };
  const watcher = new MutationObserver(later);
  watcher.observe(document.body, { childList: true, subtree: true });
  scan();
  return () => watcher.disconnect();
}

function add(figure) {
  const png = figure.querySelector('.modebar-btn[data-title^="Download"]');
  if (!png || figure.querySelector(`[${MARK}]`)) return;
  const svg = png.cloneNode(true);
  svg.setAttribute(MARK, "");
  svg.setAttribute("data-title", "Download plot as SVG");
  svg.setAttribute("aria-label", "Download plot as SVG");
  svg.onclick = () => {
    const context = figure._context;
    const picture = context.toImageButtonOptions;
    context.toImageButtonOptions = { ...picture, format: "svg" };
    png.click();
    context.toImageButtonOptions = picture;
  };
  png.after(svg);
}
