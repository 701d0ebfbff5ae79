"use strict";
// A figure's layout in the colours of the screen; reports and the page draw with it.

const figurePalettes = {
  light: { ink: "#24292f", soft: "#57606a", grid: "#e3e7ec" },
  dark: { ink: "#e6edf3", soft: "#9da7b3", grid: "#2c343e" },
};

function inColours(layout, palette) {
  const colours = figurePalettes[palette];
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
