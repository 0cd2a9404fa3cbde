// The charts: each is a Vega-Lite specification without data, which `draw` fills. Expressions are interpreted, not compiled, so the page needs no eval.
"use strict";

const charts = (() => {
  const LABEL = "timeFormat(datum.value, {milliseconds: '%H:%M:%S', seconds: '%H:%M:%S', minutes: '%H:%M', hours: '%H:%M', day: '%d %b', date: '%d %b', week: '%d %b'})";
  const TIME = { field: "time", type: "temporal", title: null, axis: { tickCount: 5, labelOverlap: true, labelExpr: LABEL } };
  const number = (field, title, format = ".3~f") => ({ field, type: "quantitative", title, format });
  const clock = { field: "time", type: "temporal", title: "until", format: "%d %b %H:%M:%S" };
  const named = (...names) => ({ field: "what", type: "nominal", title: null, scale: { domain: names }, legend: { orient: "top", symbolType: "stroke" } });
  const lines = (names, title, format) => ({
    mark: { type: "line", strokeWidth: 2, point: { size: 18 } },
    encoding: {
      x: TIME, y: { ...number("value", title), axis: { format, tickCount: 5 }, scale: { zero: true } },
      color: named(...names), strokeDash: { field: "what", type: "nominal", scale: { domain: names, range: [[1, 0], [5, 3]] }, title: null },
      tooltip: [{ field: "what", title: "line" }, number("value", "value", format), number("num", "decisions", ","), clock],
    },
  });
  const SPECS = {
    reward: {
      height: 240, description: "Mean reward over time with its interval",
      encoding: { x: TIME, tooltip: [number("mean", "mean"), number("low", "from"), number("high", "to"), number("num", "outcomes", ","), clock] },
      layer: [
        { mark: { type: "area", opacity: 0.18 }, encoding: { y: { ...number("low", "mean reward"), scale: { zero: false }, axis: { tickCount: 5 } }, y2: { field: "high" } } },
        { mark: { type: "line", strokeWidth: 2.5, point: { size: 24 } }, encoding: { y: number("mean", "mean reward") } },
      ],
    },
    items: {
      height: 230, description: "Share of each item in what is shown",
      encoding: {
        y: { field: "id", type: "nominal", sort: { field: "rank" }, title: null, axis: { labelLimit: 120, ticks: false, domain: false } },
        x: { ...number("share", ""), axis: { format: "%", tickCount: 5 } },
        tooltip: [{ field: "id", title: "item" }, number("share", "share", ".1%")],
      },
      layer: [{ mark: { type: "bar", cornerRadiusEnd: 3, height: 14 } }],
    },
    rates: {
      height: 200, description: "Decisions and rewards a second over the last minute",
      mark: { type: "line", strokeWidth: 2, interpolate: "step-after" },
      encoding: {
        x: { field: "ago", type: "quantitative", title: "seconds ago", scale: { domain: [60, 0], nice: false }, axis: { tickCount: 6 } },
        y: { ...number("value", "a second"), axis: { tickCount: 5, format: "~s" }, scale: { zero: true } },
        color: named("decisions", "rewards"), tooltip: [{ field: "what", title: "line" }, number("value", "a second", ","), number("ago", "seconds ago", "d")],
      },
    },
    exploration: { height: 200, description: "Effective items and candidates over time", ...lines(["effective items", "candidates"], "items", "~s") },
    floor: { height: 200, description: "Share of floor hits over time, drawn and expected", ...lines(["drawn", "expected"], "share", ".1~%") },
  };
  const shown = {};  // {name: a promise of its view}
  const last = {};

  function config() {
    const style = getComputedStyle(document.body), colour = name => style.getPropertyValue(`--${name}`).trim();
    const axis = { labelColor: colour("soft"), titleColor: colour("soft"), gridColor: colour("grid"), domainColor: colour("line"), tickColor: colour("line"), titleFontWeight: "normal" };
    return {
      background: "transparent", font: style.fontFamily, view: { stroke: null }, axis, axisX: { grid: false },
      legend: { labelColor: colour("ink"), labelFontSize: 12 }, range: { category: [colour("accent"), colour("second")] }, mark: { color: colour("accent") },
    };
  }

  async function made(name) {
    const place = document.getElementById(name);
    const spec = { $schema: "https://vega.github.io/schema/vega-lite/v6.json", width: "container", autosize: { type: "fit-x", contains: "padding" }, data: { name: "rows", values: last[name] }, ...SPECS[name] };
    const { view } = await vegaEmbed(place, spec, {
      ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true, theme: "own" }, config: config(),
    });
    return view;
  }

  /** Shows rows in a chart; without any, says so. */
  async function draw(name, rows) {
    const place = document.getElementById(name);
    last[name] = rows;
    place.classList.toggle("empty", !rows.length);
    if (!rows.length) {
      if (shown[name]) { (await shown[name]).finalize(); delete shown[name]; }
      place.textContent = "Nothing yet.";
    } else if (shown[name]) {
      await (await shown[name]).data("rows", rows).resize().runAsync();
    } else {
      place.textContent = "";
      shown[name] = made(name);
      await shown[name];
    }
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", async () => {
    for (const name of Object.keys(shown)) {
      (await shown[name]).finalize();
      delete shown[name];
      await draw(name, last[name]);
    }
  });
  return { draw };
})();
