"use strict";
// Draws every figure of the page in the colours of the screen. A figure is a <figure class="plot"> followed by its data.

const figurePalettes = {
  light: { ink: "#24292f", soft: "#57606a", grid: "#e3e7ec" },
  dark: { ink: "#e6edf3", soft: "#9da7b3", grid: "#2c343e" },
};
const darkScreen = matchMedia("(prefers-color-scheme: dark)");

function inColours(layout, colours) {
  const template = layout.template || {};
  const base = template.layout || {};
  const axis = { gridcolor: colours.grid, linecolor: colours.grid, zerolinecolor: colours.grid };
  const both = { ...axis, tickfont: { color: colours.soft } };
  const { width, ...rest } = layout;
  return {
    ...rest,
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...layout.font, color: colours.ink },
    template: {
      ...template,
      layout: { ...base, xaxis: { ...base.xaxis, ...both }, yaxis: { ...base.yaxis, ...both } },
    },
  };
}

async function drawFigure(plot) {
  const canvas = plot.querySelector("[data-figure]");
  try {
    const figure = JSON.parse(plot.nextElementSibling.textContent);
    const layout = inColours(figure.layout || {}, figurePalettes[darkScreen.matches ? "dark" : "light"]);
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
