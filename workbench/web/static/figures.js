"use strict";
// Draws every figure of the page in the colours of the screen. A figure is a <figure class="plot"> followed by its data.

const darkScreen = matchMedia("(prefers-color-scheme: dark)");

async function drawFigure(plot) {
  const canvas = plot.querySelector("[data-figure]");
  try {
    const figure = JSON.parse(plot.nextElementSibling.textContent);
    const layout = inColours(figure.layout || {}, darkScreen.matches ? "dark" : "light");
    plot.classList.add("drawn");
    const config = { displaylogo: false, responsive: true, displayModeBar: false };
    await Plotly.react(canvas, figure.data || [], layout, config);
  } catch (problem) {
    plot.classList.remove("drawn");
    console.error("figure not drawn", problem);
  }
}

async function drawFigures(root) {
  for (const plot of root.querySelectorAll("figure.plot")) await drawFigure(plot);
}

drawFigures(document);
darkScreen.addEventListener("change", () => drawFigures(document));
