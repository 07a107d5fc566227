/** Draws the charts of the usage page, a mark per day. The tables below them have the same numbers. */

import uPlot from "./uplot/uPlot.esm.js";

/**
 * @typedef {{name: string, color: string, values: (number|null)[]}} Series  `color` is a variable of the admin's style sheet
 * @typedef {{title: string, form: "bars"|"lines", unit: "count"|"dollars"|"seconds", series: Series[]}} Chart
 */

const HEIGHT = 200;
const DAY = 86400;
const WEEKS = [1, 2, 3, 7, 14, 28].map((days) => days * DAY);

const compact = new Intl.NumberFormat("en", { notation: "compact" });
const money = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });
const calendar = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", timeZone: "UTC" });
const UNITS = {
  count: (value) => compact.format(value),
  dollars: (value) => `$${money.format(value)}`,
  seconds: (value) => `${money.format(value)} s`,
};

const place = document.getElementById("verbatim-charts");
/** @type {{days: string[], charts: Chart[]}} */
const { days, charts } = JSON.parse(document.getElementById("verbatim-charts-data").textContent);
const times = days.map((day) => Date.parse(day) / 1000); // its midnight in UTC stands for a day, whatever the time zone
const named = (time) => (time == null ? "-" : calendar.format(time * 1000));

/** What an axis looks like, in the colours of now. */
function axis(color, options) {
  const grid = { stroke: color("--hairline-color"), width: 1 };
  return { stroke: color("--body-quiet-color"), font: `11px ${getComputedStyle(document.body).fontFamily}`, grid, ticks: grid, ...options };
}

/** @param {Chart} chart @param {number} width */
function options(chart, width, color) {
  const unit = UNITS[chart.unit];
  const written = (_, value) => (value == null ? "-" : unit(value));
  const bars = chart.form === "bars";
  const series = chart.series.map(({ name, color: variable }) => ({
    label: name,
    value: written,
    stroke: color(variable),
    ...(bars ? { fill: color(variable), width: 0, paths: uPlot.paths.bars({ size: [0.7, 40] }), points: { show: false } } : { width: 2 }),
  }));
  return {
    width,
    height: HEIGHT,
    series: [{ label: "Day", value: (_, time) => named(time) }, ...series],
    scales: {
      x: { time: true, range: (_, first, last) => [first - DAY / 2, last + DAY / 2] },
      y: { range: (_, least, most) => [0, uPlot.rangeNum(0, most || 1, 0.1, true)[1]] },
    },
    axes: [
      axis(color, { incrs: WEEKS, space: 55, values: (_, splits) => splits.map(named) }),
      axis(color, { size: 60, values: (_, splits) => splits.map(unit) }),
    ],
    tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "UTC"),
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: "verbatim-usage" } },
  };
}

const figures = charts.map((chart) => {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = `${chart.title} per day`;
  figure.append(caption);
  return { figure, chart, plot: null };
});

/** Draws all charts anew, in the colours of the theme. */
function draw() {
  const style = getComputedStyle(document.documentElement);
  const color = (variable) => style.getPropertyValue(variable).trim();
  for (const one of figures) {
    one.plot?.destroy();
    const values = one.chart.series.map((series) => series.values);
    one.plot = new uPlot(options(one.chart, one.figure.clientWidth, color), [times, ...values], one.figure);
  }
}

place.append(...figures.map(({ figure }) => figure));
place.hidden = false;
draw();

new ResizeObserver(() => {
  for (const { figure, plot } of figures) plot.setSize({ width: figure.clientWidth, height: HEIGHT });
}).observe(place);
new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
