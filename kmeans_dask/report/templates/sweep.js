"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const points = data.points;
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 400, LEFT = 52, RIGHT = 24, TOP = 44, BOTTOM = 44;
  const LINES = 6; // colours of lines
  const NEAR = 24; // pixels from the pointer to a point that it chooses
  const MEASURES = {
    ssimulacra2: { name: "SSIMULACRA2", digits: 1, unit: "" },
    psnr: { name: "PSNR", digits: 2, unit: " dB" },
  };
  const find = (id) => document.getElementById(id);
  const fixed = (value, digits) =>
    value.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });

  function size(bytes, digits = 1) {
    const prefixes = ["B", "kB", "MB", "GB", "TB"];
    let at = 0;
    for (; bytes >= 999.95 && at < 4; at++) bytes /= 1000;
    return `${fixed(bytes, at ? digits : 0)} ${prefixes[at]}`;
  }

  const colors = [...new Set(points.map((point) => point.colors))];
  const weights = [...new Set(points.map((point) => point.lossy))];
  const several = weights.length > 1;
  const title = (point) =>
    `${point.colors} colours${several ? `, lossy ${point.lossy}` : ""}`;
  function quality(point, measure) {
    if (point.kept === data.sampled) return "all kept";
    const value = point[measure];
    const { digits, unit } = MEASURES[measure];
    if (value === null) return measure === "psnr" ? "nothing lost" : "–";
    return fixed(value, digits) + unit;
  }

  let chosen = Math.max(0, points.findIndex((point) => point.suggested));
  let measure = "ssimulacra2";
  let marks = []; // elements of the chart, one for each point

  function add(parent, name, attributes, text) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  // ---- the chart: a line over the numbers of colours for each weight, bytes logarithmic

  function ticks(low, high, n) {
    const rough = (high - low) / n;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
    const found = [];
    for (let at = Math.ceil(low / step); at * step <= high + step / 1e6; at++) found.push(at * step);
    return found;
  }

  function logTicks(low, high) {
    for (const digits of [[1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]]) {
      const found = [];
      for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
        for (const digit of digits) {
          if (digit * power >= low && digit * power <= high) found.push(digit * power);
        }
      }
      if (found.length > 2) return found;
    }
    return ticks(low, high, 4);
  }

  function draw() {
    const box = find("chart-curve");
    const WIDTH = Math.max(box.clientWidth, 280); // the letters do not shrink with the page
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("role", "radiogroup");
    svg.setAttribute("aria-label", `Bytes against ${MEASURES[measure].name} of all points`);
    const known = points.map((point) => point[measure]).filter((value) => value !== null);
    let [least, most] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 100];
    if (most - least < 1) [least, most] = [least - 1, most + 1];
    const pad = (most - least) * 0.06;
    [least, most] = [least - pad, most + pad];
    const bytes = points.map((point) => Math.max(1, point.n_bytes));
    const [small, large] = [Math.min(...bytes) / 1.08, Math.max(...bytes) * 1.08];
    const across = (value) =>
      LEFT + (WIDTH - LEFT - RIGHT) * Math.log(value / small) / Math.log(large / small);
    const up = (value) => HEIGHT - BOTTOM
      - (HEIGHT - TOP - BOTTOM) * ((value ?? most) - least) / (most - least);
    for (const value of ticks(least, most, 5)) {
      add(svg, "line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: up(value), y2: up(value) });
      add(svg, "text", { x: LEFT - 8, y: up(value) + 4, "text-anchor": "end" },
        `${Number(value.toPrecision(6))}`.replace("-", "−"));
    }
    let free = LEFT - 30; // where the next label has room
    for (const value of logTicks(small, large)) {
      add(svg, "line", { class: "grid", x1: across(value), x2: across(value),
        y1: TOP, y2: HEIGHT - BOTTOM });
      if (across(value) < free) continue;
      free = across(value) + 64;
      add(svg, "text", { x: across(value), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" },
        size(value, 0) === size(value, 1).replace(/\.0 /, " ") ? size(value, 0) : size(value, 1));
    }
    add(svg, "text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, "bytes of all images");
    add(svg, "text", { x: 0, y: 14 },
      MEASURES[measure].name + (measure === "psnr" ? ", in dB" : ""));

    const legend = add(svg, "g", { class: "legend" });
    let right = WIDTH - RIGHT;
    const short = WIDTH < 600; // room for numbers alone
    const color = (weight) => `var(--line-${weights.indexOf(weight) % LINES})`;
    const dash = (weight) => ["", "7 4", "2 4"][Math.floor(weights.indexOf(weight) / LINES) % 3];
    if (several) {
      for (const weight of [...weights].reverse()) {
        const label = add(legend, "text", { x: right, y: 14, "text-anchor": "end" },
          short ? weight : `lossy ${weight}`);
        right -= 7 * label.textContent.length + 34;
        add(legend, "line", { x1: right, x2: right + 24, y1: 10, y2: 10, "stroke-width": 2,
          "stroke-dasharray": dash(weight) }).style.stroke = color(weight);
      }
    }
    for (const weight of weights) {
      const line = points.map((point, at) => [point, at]).filter(([point]) => point.lossy === weight);
      add(svg, "polyline", { "stroke-dasharray": dash(weight), points: line
        .map(([point, at]) => `${across(bytes[at])},${up(point[measure])}`).join(" ") },
      ).style.stroke = color(weight);
    }
    marks = points.map((point, at) => {
      const [x, y] = [across(bytes[at]), up(point[measure])];
      const mark = add(svg, "g", { class: "point", role: "radio", "aria-label":
        `${title(point)}: ${size(point.n_bytes)}, ${MEASURES[measure].name} ${quality(point, measure)}` });
      mark.style.color = color(point.lossy);
      add(mark, "title", {}, `${title(point)}\n${size(point.n_bytes)}, `
        + `${MEASURES[measure].name} ${quality(point, measure)}`);
      add(mark, "circle", { class: "hit", cx: x, cy: y, r: 9 });
      add(mark, "circle", { class: "ring", cx: x, cy: y, r: 9 });
      add(mark, "circle", { class: "dot", cx: x, cy: y, r: 4.5 }).style.stroke = "currentcolor";
      if (point.lossy === weights[0]) {
        add(mark, "text", { x, y: y - 13, "text-anchor": "middle" }, `${point.colors}`);
      }
      mark.addEventListener("keydown", (event) => step(event, at));
      return mark;
    });
    svg.addEventListener("click", (event) => {
      // the nearest point: others may lie close to it
      const frame = svg.getBoundingClientRect();
      const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
      const scale = WIDTH / frame.width;
      const away = points.map((point, at) =>
        Math.hypot(x * scale - across(bytes[at]), y * scale - up(point[measure])));
      const at = event.detail ? away.indexOf(Math.min(...away)) : marks.indexOf(event.target);
      if (at >= 0 && !(event.detail && away[at] > NEAR)) choose(at);
    });
    box.replaceChildren(svg);
  }

  function step(event, at) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const point = points[at];
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    let next = at;
    if (event.key in move) {
      const [dk, dw] = move[event.key];
      const k = colors[colors.indexOf(point.colors) + dk];
      const weight = weights[weights.indexOf(point.lossy) + dw];
      next = points.findIndex((each) => each.colors === k && each.lossy === weight);
    } else if (event.key !== " " && event.key !== "Enter") {
      return;
    }
    event.preventDefault();
    if (next < 0) return;
    choose(next);
    marks[next].focus();
  }

  // ---- the chosen point

  const rows = [...document.querySelectorAll("#points tbody tr")];
  const crops = [...document.querySelectorAll(".crop")];
  const [chooseColors, chooseLossy] = [find("choose-colors"), find("choose-lossy")];

  function choose(at) {
    chosen = at;
    const point = points[at];
    marks.forEach((mark, number) => {
      mark.setAttribute("aria-checked", String(number === at));
      mark.setAttribute("tabindex", number === at ? "0" : "-1");
    });
    const figures = [
      ["Colours", `${point.colors}`],
      ...(several ? [["Lossy", point.lossy]] : []),
      ["Bytes", `${size(point.n_bytes)}, ${fixed(100 * point.part, 1)} %`],
      ["SSIMULACRA2", quality(point, "ssimulacra2")],
      ["PSNR", quality(point, "psnr")],
    ];
    find("figures").replaceChildren(...figures.map(([name, value]) => {
      const pair = document.createElement("div");
      for (const [kind, text] of [["dt", name], ["dd", value]]) {
        const element = document.createElement(kind);
        element.textContent = text;
        pair.append(element);
      }
      return pair;
    }));
    find("command").textContent = point.command;
    find("copied").textContent = "";
    rows.forEach((row, number) =>
      row.querySelector("button").setAttribute("aria-pressed", String(number === at)));
    if (!crops.length) return;
    chooseColors.value = `${point.colors}`;
    if (chooseLossy) chooseLossy.value = point.lossy;
    find("chosen-figures").textContent = `${size(point.n_bytes)}, ${fixed(100 * point.part, 1)} % of `
      + `input; SSIMULACRA2 ${quality(point, "ssimulacra2")}, PSNR ${quality(point, "psnr")}`;
    crops.forEach((crop, number) => {
      const { before, after } = data.crops[number];
      const image = crop.querySelector(".after");
      image.src = after[at] ?? before;
      image.nextElementSibling.textContent = after[at] === null ? "kept as it is" : "after";
    });
  }

  crops.forEach((crop, number) => {
    for (const image of crop.querySelectorAll("img")) {
      image.addEventListener("load", () => { image.width = 2 * image.naturalWidth; });
    }
    crop.querySelector(".before").src = data.crops[number].before;
  });
  for (const select of [chooseColors, chooseLossy]) {
    select?.addEventListener("change", () => choose(points.findIndex((point) =>
      `${point.colors}` === chooseColors.value
      && point.lossy === (chooseLossy?.value ?? weights[0]))));
  }
  rows.forEach((row, at) => row.addEventListener("click", () => choose(at)));
  for (const radio of document.querySelectorAll("[name=measure]")) {
    radio.addEventListener("change", () => {
      measure = radio.value;
      draw();
      choose(chosen);
    });
  }

  find("copy").addEventListener("click", async () => {
    const code = find("command");
    let done = false;
    try {
      await navigator.clipboard.writeText(code.textContent);
      done = true;
    } catch { // not allowed here: select the text, which can be copied by hand at the least
      getSelection().selectAllChildren(code);
      done = document.execCommand("copy");
    }
    find("copied").textContent = done ? "Copied" : "Press Ctrl+C to copy";
  });

  draw();
  choose(chosen);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    draw();
    choose(chosen);
  });
  document.documentElement.dataset.chosen = "yes";
})();
