"use strict";
(() => {
  const PAGE = 50;
  const data = JSON.parse(document.getElementById("data").textContent);
  const collator = new Intl.Collator("en-GB", { numeric: true });
  const grouped = (value) => value.toLocaleString("en-GB");
  const fixed = (value, digits) =>
    value.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });

  function size(bytes) {
    const prefixes = ["B", "kB", "MB", "GB", "TB"];
    let at = 0;
    for (; bytes >= 999.95 && at < 4; at++) bytes /= 1000;
    return `${fixed(bytes, at ? 1 : 0)} ${prefixes[at]}`;
  }

  // ---- tables: of each column what it is sorted by, and what it shows

  const text = (at) => [(row) => row[at], (row) => row[at]];
  const bytes = (at) => [(row) => row[at], (row) => size(row[at])];
  const ratio = (row) => (row[3] ? (100 * row[4]) / row[3] : 0);
  const psnr = (row) => row[5] ?? Infinity;
  const IMAGES = [
    text(0), text(1), text(2), bytes(3), bytes(4),
    [ratio, (row) => `${fixed(ratio(row), 1)} %`],
    [psnr, (row) => (row[5] === null ? "nothing lost" : `${fixed(row[5], 2)} dB`)],
  ];

  function list(id, rows, columns) {
    const section = document.getElementById(id);
    if (!section) return;
    const body = section.querySelector("tbody");
    const heads = [...section.querySelectorAll("thead th")];
    const [where, previous, next] = [".where", ".previous", ".next"].map((name) =>
      section.querySelector(name));
    let shown = rows, page = 0;

    function show() {
      const pages = Math.max(1, Math.ceil(shown.length / PAGE));
      page = Math.min(Math.max(page, 0), pages - 1);
      const first = page * PAGE;
      const some = shown.slice(first, first + PAGE);
      body.replaceChildren(...some.map((row) => {
        const line = document.createElement("tr");
        columns.forEach(([, say], at) => {
          const cell = document.createElement(at ? "td" : "th");
          if (!at) cell.scope = "row";
          cell.className = heads[at].className;
          cell.textContent = say(row);
          line.append(cell);
        });
        return line;
      }));
      where.textContent = some.length
        ? `${grouped(first + 1)}–${grouped(first + some.length)} of ${grouped(shown.length)}`
        : "none";
      previous.disabled = page === 0;
      next.disabled = page === pages - 1;
      previous.parentElement.hidden = pages === 1;
    }

    heads.forEach((head, at) => head.firstElementChild.addEventListener("click", () => {
      const down = head.ariaSort === "ascending";
      for (const each of heads) each.ariaSort = "none";
      head.ariaSort = down ? "descending" : "ascending";
      const [value] = columns[at];
      const compare = (a, b) => {
        const [one, other] = [value(a), value(b)];
        if (typeof one === "string") return collator.compare(one, other);
        return one < other ? -1 : one > other ? 1 : 0; // Infinity less Infinity is no number
      };
      rows = [...rows].sort((a, b) => (down ? compare(b, a) : compare(a, b)));
      filter();
    }));
    const search = section.querySelector("input");
    function filter() {
      const wanted = search.value.trim().toLowerCase();
      shown = rows.filter((row) =>
        row.some((each) => typeof each === "string" && each.toLowerCase().includes(wanted)));
      page = 0;
      show();
    }
    search.addEventListener("input", filter);
    previous.addEventListener("click", () => { page--; show(); });
    next.addEventListener("click", () => { page++; show(); });
    filter();
  }
  list("images", data.rows, IMAGES);
  list("failures", data.failures, [text(0), text(1)]);

  // ---- before and after

  for (const compare of document.querySelectorAll(".compare")) {
    const range = compare.querySelector("input");
    const move = () => compare.style.setProperty("--at", `${range.value}%`);
    range.addEventListener("input", move);
    move();
  }

  // ---- plots, in the colours of the page

  const plots = []; // [element, (colours, the layout as it is) => [traces, layout]]
  const CONFIG = { displayModeBar: false, displaylogo: false, responsive: true, scrollZoom: false };

  function add(id, make) {
    const element = document.getElementById(id);
    if (element) plots.push([element, make]);
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(`--${name}`).trim();
    const colours = { ink: of("ink"), dim: of("dim"), line: of("line"), card: of("card"),
      faint: of("faint"), accent: of("accent"), family: getComputedStyle(document.body).fontFamily };
    return Promise.all(plots.map(([element, make]) => {
      const [traces, layout] = make(colours, element.layout);
      return Plotly.react(element, traces, {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
        font: { color: colours.dim, family: colours.family, size: 12 },
        hoverlabel: { bgcolor: colours.card, bordercolor: colours.line,
          font: { color: colours.ink, family: colours.family } },
        ...layout,
      }, CONFIG);
    }));
  }

  function flat(colours, x, y) {
    const axis = { gridcolor: colours.line, linecolor: colours.line, zeroline: false,
      fixedrange: true, automargin: true };
    return { margin: { l: 8, r: 12, t: 12, b: 8 }, dragmode: false, bargap: 0,
      xaxis: { ...axis, showgrid: false, ...x }, yaxis: { ...axis, ...y } };
  }

  function bars(histogram, scale, unit) {
    const { edges, counts } = histogram;
    const low = edges.slice(0, -1).map((edge) => edge * scale);
    const high = edges.slice(1).map((edge) => edge * scale);
    return (colours) => [[{
      type: "bar", x: low.map((edge, at) => (edge + high[at]) / 2), y: counts,
      width: low.map((edge, at) => (high[at] - edge) * 0.9),
      customdata: low.map((edge, at) => [edge, high[at]]),
      marker: { color: colours.accent, cornerradius: 3 },
      hovertemplate: `%{customdata[0]:.4~g}–%{customdata[1]:.4~g} ${unit}<br>`
        + "%{y:,} images<extra></extra>",
    }], flat(colours, { ticksuffix: ` ${unit}` }, { tickformat: ",~r", rangemode: "tozero",
      ...(Math.max(...counts) < 6 ? { dtick: 1 } : {}) })]; // there are no half images
  }

  if (data.history.length) {
    const inertia = data.history.map((value) => (value > 0 ? value : null)); // 0 has no logarithm
    add("chart-history", (colours) => [[{
      type: "scatter", mode: inertia.length > 60 ? "lines" : "lines+markers",
      x: inertia.map((_, at) => at + 1), y: inertia, marker: { size: 5 },
      line: { color: colours.accent, width: 2 },
      hovertemplate: "iteration %{x:,}<br>inertia %{y:.6g}<extra></extra>",
    }], flat(colours, { tickformat: ",d", title: { text: "iteration" } },
      { type: "log", tickformat: ".2~e", nticks: 6 })]);
  }
  if (data.ratio) add("chart-ratio", bars(data.ratio, 100, "%"));
  if (data.psnr) add("chart-psnr", bars(data.psnr, 1, "dB"));

  // ---- the clouds

  function cloud(colors, width) {
    const away = Math.min(Math.max(500 / width, 1), 1.25); // the letters on axes do not shrink
    const counts = new Map();
    for (const color of colors) counts.set(color, (counts.get(color) ?? 0) + 1);
    const points = [...counts.keys()];
    const channel = (at) => points.map((color) => parseInt(color.slice(at, at + 2), 16));
    return (colours, now) => {
      const axis = (name) => ({ title: { text: name }, range: [-4, 259], tickvals: [0, 128, 255],
        gridcolor: colours.faint, linecolor: colours.faint, color: colours.dim, showbackground: false,
        zeroline: false, showspikes: false });
      return [[{
        type: "scatter3d", mode: "markers", x: channel(1), y: channel(3), z: channel(5),
        text: points, customdata: points.map((color) => counts.get(color)),
        marker: { color: points, opacity: 1, line: { width: 0 },
          // by volume: what fell together is as large as all that it was
          size: points.map((color) => Math.min(3 * Math.cbrt(counts.get(color)), 30)) },
        hovertemplate: "%{text}<br>R %{x}, G %{y}, B %{z}<br>%{customdata:,} of "
          + `${grouped(colors.length)} sampled pixels<extra></extra>`,
      }], {
        margin: { l: 0, r: 0, t: 0, b: 0 },
        scene: { xaxis: axis("R"), yaxis: axis("G"), zaxis: axis("B"), aspectmode: "cube",
          dragmode: "turntable",
          // a change of colours turns nothing back
          camera: now?.scene.camera ?? { up: { x: 0, y: 0, z: 1 }, center: { x: 0, y: 0, z: -0.07 },
            eye: { x: 1.5 * away, y: 1.5 * away, z: 0.9 * away } } },
      }];
    };
  }

  const CLOUDS = ["cloud-before", "cloud-after"].map((id) => document.getElementById(id));
  let leader = null; // the cloud that is being turned; the other one follows
  let wanted = null; // the camera that it has yet to take
  let following = false;

  async function follow(other, camera) {
    wanted = camera;
    if (following) return;
    following = true;
    while (wanted) {
      const now = wanted;
      wanted = null;
      await Plotly.relayout(other, { "scene.camera": now });
    }
    following = false;
  }

  function turn(element, key) {
    const { eye, up, center } = element.layout.scene.camera;
    const step = Math.PI / 24;
    const radius = Math.hypot(eye.x, eye.y, eye.z);
    const around = Math.atan2(eye.y, eye.x)
      + ({ ArrowLeft: -step, ArrowRight: step }[key] ?? 0);
    const raised = Math.asin(eye.z / radius) + ({ ArrowUp: step, ArrowDown: -step }[key] ?? 0);
    const height = Math.min(Math.max(raised, -1.5), 1.5);
    return Plotly.relayout(element, { "scene.camera": { up, center, eye: {
      x: radius * Math.cos(height) * Math.cos(around),
      y: radius * Math.cos(height) * Math.sin(around),
      z: radius * Math.sin(height) } } });
  }

  function link(element, other) {
    for (const name of ["pointerdown", "mousedown", "touchstart", "keydown"]) {
      element.addEventListener(name, () => { leader = element; }, { capture: true, passive: true });
    }
    element.on("plotly_relayouting", (event) => {
      if (leader === element && event["scene.camera"]) follow(other, event["scene.camera"]);
    });
    element.on("plotly_relayout", (event) => {
      if (leader !== element || !event["scene.camera"]) return;
      // A camera glides on for some frames after it was let go, and plotly.js tells nobody: there
      // is no public name for where it came to rest.
      setTimeout(() => {
        const camera = element._fullLayout.scene._scene?.getCamera() ?? event["scene.camera"];
        element.layout.scene.camera = camera;
        follow(other, camera);
      }, 100);
    });
    element.addEventListener("keydown", (event) => {
      if (!event.key.startsWith("Arrow") || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      turn(element, event.key);
    });
  }

  let webgl = false;
  if (data.cloud) {
    webgl = Boolean(document.createElement("canvas").getContext("webgl"));
    document.getElementById("no-webgl").hidden = webgl;
    document.getElementById("clouds").hidden = !webgl;
  }
  if (webgl) {
    const width = CLOUDS[0].clientWidth;
    add("cloud-before", cloud(data.cloud.before, width));
    add("cloud-after", cloud(data.cloud.after, width));
  }
  draw().then(() => {
    if (webgl) CLOUDS.forEach((element, at) => link(element, CLOUDS[1 - at]));
    document.documentElement.dataset.drawn = "yes";
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  });
})();
