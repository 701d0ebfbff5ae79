(async () => {
  const scheme = matchMedia("(prefers-color-scheme: dark)");

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  async function draw(canvas, palette) {
    const figure = JSON.parse(document.getElementById(canvas.dataset.figure).textContent);
    const layout = inColours(figure.layout || {}, palette);
    const config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["toImage"] };
    // Seen first, drawn then: a hidden canvas has no width to fill.
    canvas.parentElement.classList.add("drawn");
    await Plotly.react(canvas, figure.data || [], layout, config);
  }

  async function drawAll(palette) {
    for (const canvas of document.querySelectorAll("[data-figure]")) {
      try {
        await draw(canvas, palette);
      } catch (problem) {
        canvas.parentElement.classList.remove("drawn");
        console.error("figure not drawn", problem);
      }
    }
  }

  const library = document.createElement("script");
  library.textContent = await unpacked(document.getElementById("library").textContent);
  // The map part brings a style sheet of its own unless one of its id is there; the policy would refuse it.
  for (const [, id] of library.textContent.matchAll(/getElementById\("([0-9a-f]{64})"\)/g)) {
    document.head.append(Object.assign(document.createElement("style"), { id }));
  }
  document.head.append(library);
  const screen = () => (scheme.matches ? "dark" : "light");
  await drawAll(screen());
  scheme.addEventListener("change", () => drawAll(screen()));
  addEventListener("beforeprint", () => drawAll("light"));
  addEventListener("afterprint", () => drawAll(screen()));
})();
