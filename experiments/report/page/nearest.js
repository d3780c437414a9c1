// Points in the plane: who is nearest, who gets the most votes, and where. Neighbours stand in the
// order of their distance, and of equal ones in the order of the points, as in lincls.
// `state` is all there is; `draw` shows it. The page holds where it starts, as lincls has it.
(() => {
  const root = document.getElementById("near");
  const start = JSON.parse(document.getElementById("near-data").textContent);
  const svg = root.querySelector("svg"), canvas = root.querySelector("canvas");
  const find = (selector) => root.querySelector(selector);
  const all = (selector) => [...root.querySelectorAll(selector)];
  const LARGEST = start.side - 0.0625; // of a coordinate: points stay within the frame
  const REACH = 0.15; // how near a point must be to be removed or picked up by a key
  let state, shown, held = null;

  // --- the arithmetic ---------------------------------------------------------------------

  const length = { l1: (distance) => distance, l2: Math.sqrt }; // L2 is found as a sum of squares

  // What finds the first k of `shown` in the order of (distance, place), and counts their votes.
  function search() {
    const k = Math.min(state.k, shown.length), isL2 = state.metric === "l2";
    const X = Float64Array.from(shown, ({ x }) => x), Y = Float64Array.from(shown, ({ y }) => y);
    const labels = Uint8Array.from(shown, ({ label }) => label);
    const places = new Int32Array(k), distances = new Float64Array(k);
    const counts = new Int32Array(state.classes);
    return (x, y) => {
      distances.fill(Infinity);
      for (let place = 0; place < X.length; place += 1) {
        const dx = X[place] - x, dy = Y[place] - y;
        const distance = isL2 ? dx * dx + dy * dy : Math.abs(dx) + Math.abs(dy);
        if (distance >= distances[k - 1]) continue;
        let rank = k - 1;
        for (; rank > 0 && distance < distances[rank - 1]; rank -= 1) {
          distances[rank] = distances[rank - 1];
          places[rank] = places[rank - 1];
        }
        distances[rank] = distance;
        places[rank] = place;
      }
      counts.fill(0);
      for (let rank = 0; rank < k; rank += 1) counts[labels[places[rank]]] += 1;
      return { places, distances, counts };
    };
  }

  // The class with the most votes, or the number of all classes for a tie.
  function winner(counts) {
    let best = 0, tied = false;
    for (let label = 1; label < counts.length; label += 1) {
      if (counts[label] >= counts[best]) tied = counts[label] === counts[best];
      if (counts[label] > counts[best]) best = label;
    }
    return tied ? start.names.length : best;
  }

  // --- the picture ------------------------------------------------------------------------

  function paint() {
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const size = start.cells, width = (2 * start.side) / size;
    const image = context.createImageData(size, size), look = search();
    const pixels = new Uint32Array(image.data.buffer);
    const tints = start.tints.map((tint) => new Uint32Array(Uint8Array.of(...tint, 255).buffer)[0]);
    for (let row = 0, at = 0; row < size; row += 1) {
      const y = start.side - (row + 0.5) * width;
      for (let column = 0; column < size; column += 1, at += 1) {
        pixels[at] = tints[winner(look(-start.side + (column + 0.5) * width, y).counts)];
      }
    }
    context.putImageData(image, 0, 0);
  }

  function made(name, parent, values) {
    const element = document.createElementNS(svg.namespaceURI, name);
    Object.entries(values).forEach(([key, value]) => element.setAttribute(key, value));
    parent.append(element);
    return element;
  }

  const show = (name, text) => { find(`[data-name="${name}"]`).textContent = text; };
  const at = ({ x, y }) => `translate(${x},${y})`;

  function drawPoints() {
    const group = find("[data-points]");
    group.replaceChildren();
    shown.forEach((point, place) => made("path", group, {
      "data-point": place, class: point === held ? "held" : "", fill: start.colors[point.label],
      d: start.shapes[point.label], transform: at(point),
    }));
  }

  const ball = {
    l1: (r) => `M${r} 0L0 ${r}L${-r} 0L0 ${-r}Z`,
    l2: (r) => `M${r} 0A${r} ${r} 0 1 0 ${-r} 0A${r} ${r} 0 1 0 ${r} 0`,
  };

  // The lines from the pointer, and the votes there.
  function look() {
    const { x, y } = state.query, found = search()(x, y), lines = find("[data-lines]");
    lines.replaceChildren();
    found.places.forEach((place, rank) => made("line", lines, {
      x1: x, y1: y, x2: shown[place].x, y2: shown[place].y, stroke: start.colors[shown[place].label],
      "data-near": place, "data-distance": length[state.metric](found.distances[rank]),
    }));
    const radius = found.places.length ? length[state.metric](found.distances.at(-1)) : 0;
    find(".ball").setAttribute("d", ball[state.metric](radius));
    [".ball", ".cross"].forEach((name) => find(name).setAttribute("transform", at(state.query)));
    const { counts } = found, most = Math.max(...counts);
    const verdict = winner(counts) === start.names.length ? "tie" : "most";
    start.names.forEach((_, label) => {
      find(`[data-row="${label}"]`).hidden = label >= state.classes;
      show(`count${label}`, shown.filter((point) => point.label === label).length);
      show(`votes${label}`, counts[label] ?? 0);
      show(`most${label}`, most > 0 && counts[label] === most ? verdict : "");
    });
    find("[data-told]").textContent = found.places.length
      ? `At (${x.toFixed(2)}, ${y.toFixed(2)}) ${found.places.length} of ${shown.length} points vote. `
        + `The farthest of them is ${radius.toFixed(3)} away.`
      : "There are no points. Click to add one.";
  }

  function draw() {
    shown = state.points.filter((point) => point.label < state.classes);
    all("[data-choice]").forEach((choice) => {
      choice.hidden = Number(choice.dataset.choice) >= state.classes;
    });
    find(`[name=metric][value=${state.metric}]`).checked = true;
    find(`[name=label][value="${state.label}"]`).checked = true;
    ["k", "classes"].forEach((name) => {
      find(`[name=${name}]`).value = state[name];
      show(name, state[name]);
    });
    paint();
    drawPoints();
    look();
  }

  // --- the hands --------------------------------------------------------------------------

  const snapped = (value, most) =>
    Math.max(-most, Math.min(most, Math.round(value / start.unit) * start.unit));

  function position(event) {
    const { x, y } = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(svg.querySelector("g").getScreenCTM().inverse());
    return { x: snapped(x, LARGEST), y: snapped(y, LARGEST) };
  }

  function add({ x, y }) {
    state.points.push({ x, y, label: state.label });
    draw();
  }

  function remove(point) {
    state.points = state.points.filter((other) => other !== point);
    if (held === point) held = null;
    draw();
  }

  let pressed = null, before = null; // the points under the last two presses, if any
  svg.addEventListener("pointerdown", (event) => {
    state.query = position(event);
    before = pressed;
    pressed = "point" in event.target.dataset ? shown[event.target.dataset.point] : null;
    if (!pressed) return;
    const point = pressed;
    const move = (moved) => {
      Object.assign(point, position(moved));
      draw();
    };
    const end = () => svg.removeEventListener("pointermove", move);
    svg.setPointerCapture(event.pointerId);
    svg.addEventListener("pointermove", move);
    svg.addEventListener("pointerup", end, { once: true });
    svg.addEventListener("pointercancel", end, { once: true });
  });
  svg.addEventListener("pointermove", (event) => {
    state.query = position(event);
    look();
  });
  svg.addEventListener("click", () => { // where it was pressed: a click has whole pixels only
    if (pressed) look();
    else add(state.query);
  });
  svg.addEventListener("dblclick", () => {
    if (pressed && pressed === before) remove(pressed);
  });

  // The point nearest to the pointer, if it is near.
  function within() {
    const { x, y } = state.query;
    const away = (point) => Math.hypot(point.x - x, point.y - y);
    const best = shown.reduce((a, b) => (a && away(a) <= away(b) ? a : b), null);
    return best && away(best) <= REACH ? best : null;
  }

  function step(dx, dy, event) {
    const by = start.unit * (event.shiftKey ? 1 : 8), { x, y } = state.query;
    state.query = { x: snapped(x + dx * by, LARGEST), y: snapped(y + dy * by, LARGEST) };
    if (!held) return look();
    Object.assign(held, state.query);
    return draw();
  }

  const keys = {
    ArrowLeft: (event) => step(-1, 0, event),
    ArrowRight: (event) => step(1, 0, event),
    ArrowUp: (event) => step(0, 1, event),
    ArrowDown: (event) => step(0, -1, event),
    Enter: () => add(state.query),
    Delete: () => remove(within()),
    Backspace: () => remove(within()),
    " ": () => {
      held = held ? null : within();
      if (held) state.query = { x: held.x, y: held.y };
      draw();
    },
  };
  svg.addEventListener("keydown", (event) => {
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key](event);
  });
  svg.addEventListener("blur", () => {
    held = null;
    drawPoints();
  });

  function restart() {
    const [x, y] = start.query;
    const points = start.points.map((point, i) =>
      ({ x: point[0], y: point[1], label: start.labels[i] }));
    state = { points, metric: start.metric, k: start.k, classes: start.classes, label: 0, query: { x, y } };
    pressed = before = held = null;
    draw();
  }

  const act = (name, action) => find(`[data-act="${name}"]`).addEventListener("click", action);
  act("restart", restart);
  act("clear", () => {
    state.points = [];
    held = null;
    draw();
  });
  all("[name=metric]").forEach((choice) => choice.addEventListener("change", () => {
    state.metric = choice.value;
    draw();
  }));
  all("[name=label]").forEach((choice) => choice.addEventListener("change", () => {
    state.label = Number(choice.value);
  }));
  ["k", "classes"].forEach((name) => find(`[name=${name}]`).addEventListener("input", (event) => {
    state[name] = Number(event.target.value);
    state.label = Math.min(state.label, state.classes - 1);
    draw();
  }));
  all("[hidden]").forEach((element) => { element.hidden = false; });
  find("image").remove();
  svg.setAttribute("tabindex", "0");
  svg.setAttribute("role", "application");
  svg.setAttribute("aria-label", "The plane. Arrow keys move the pointer, Enter adds a point.");
  restart();
})();
