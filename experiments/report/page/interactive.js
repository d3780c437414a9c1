// Three classes in the plane: scores, four losses with an L2 penalty, gradient descent by hand.
// `state` is all there is; `draw` shows it. The page holds where it starts, as lincls has it.
(() => {
  const root = document.getElementById("play");
  const start = JSON.parse(document.getElementById("play-data").textContent);
  const svg = root.querySelector("svg");
  const all = (selector) => [...root.querySelectorAll(selector)];
  const ARROW = 0.5; // length in the picture of a weight of 1
  const EDGE = 1.75; // what can be grasped stays within this square
  const HUGE = 1e9; // a loss at which gradient descent stops
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  let state;

  // --- the arithmetic ---------------------------------------------------------------------

  const scores = ([x, y]) => state.W.map(([u, v], k) => u * x + v * y + state.b[k]);

  const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);
  const margins = (s, label) =>
    s.map((each, k) => (k === label ? 0 : Math.max(0, each - s[label] + 1)));

  // A loss of margins: the sum of what the wrong classes add, and its slope in each score.
  function added(terms, slope, label) {
    slope[label] = 0;
    slope[label] = -sum(slope);
    return { value: sum(terms), terms, slope };
  }

  // A loss: its value, what each class adds to it, and its slope in each score. At a kink the
  // slope is 0; classes that tie for the worst share it.
  const losses = {
    hinge(s, label) {
      const terms = margins(s, label);
      return added(terms, terms.map((term) => (term > 0 ? 1 : 0)), label);
    },
    squared(s, label) {
      const terms = margins(s, label);
      return added(terms.map((term) => term * term), terms.map((term) => 2 * term), label);
    },
    worst(s, label) {
      const terms = margins(s, label), most = Math.max(...terms);
      const count = terms.filter((term) => term > 0 && term === most).length;
      const shares = terms.map((term) => (term > 0 && term === most ? 1 / count : 0));
      const { slope } = added(shares, [...shares], label);
      return { value: most, terms: terms.map((term) => (term === most ? term : 0)), slope };
    },
    softmax(s, label) {
      const top = Math.max(...s);
      const powers = s.map((each) => Math.exp(each - top));
      const total = sum(powers);
      const terms = powers.map((power) => power / total);
      const slope = terms.map((share, k) => share - (k === label ? 1 : 0));
      return { value: Math.log(total) - (s[label] - top), terms, slope };
    },
  };

  // The mean loss of all points, the penalty, and the gradient of their sum in W and b.
  function objective() {
    const W = state.W.map(() => [0, 0]), b = state.b.map(() => 0), count = state.points.length;
    let value = 0, right = 0;
    state.points.forEach((point, i) => {
      const s = scores(point), label = state.labels[i], loss = losses[state.kind](s, label);
      value += loss.value / count;
      right += s.indexOf(Math.max(...s)) === label ? 1 / count : 0;
      loss.slope.forEach((slope, k) => {
        W[k][0] += (slope * point[0]) / count;
        W[k][1] += (slope * point[1]) / count;
        b[k] += slope / count;
      });
    });
    let penalty = 0;
    state.W.forEach((w, k) => w.forEach((each, j) => {
      penalty += state.reg * each * each;
      W[k][j] += 2 * state.reg * each;
    }));
    return { value, penalty, right, W, b };
  }

  function step() {
    const gradient = objective();
    if (gradient.value + gradient.penalty > HUGE) return;
    state.W = state.W.map((w, k) => w.map((each, j) => each - state.rate * gradient.W[k][j]));
    state.b = state.b.map((each, k) => each - state.rate * gradient.b[k]);
  }

  // --- the picture ------------------------------------------------------------------------

  // The part of the window where class k has the greatest score: cut by one line after another.
  function region(k) {
    let corners = [[-3, -3], [3, -3], [3, 3], [-3, 3]];
    state.W.forEach((_, other) => {
      if (other === k) return;
      const ahead = (corner) => { const s = scores(corner); return s[k] - s[other]; };
      corners = corners.flatMap((corner, i) => {
        const next = corners[(i + 1) % corners.length], a = ahead(corner), c = ahead(next);
        const kept = a >= 0 ? [corner] : [], t = a / (a - c);
        const crossing = corner.map((each, j) => each + t * (next[j] - each));
        return a * c < 0 ? [...kept, crossing] : kept;
      });
    });
    return corners.map((corner) => corner.join()).join(" ");
  }

  // Where the score of class k is 0: the point nearest to the origin.
  function foot(k) {
    const [u, v] = state.W[k], square = u * u + v * v || 1e-12;
    return [(-state.b[k] * u) / square, (-state.b[k] * v) / square];
  }

  // The place of a line's arrow: the point of the line within the square that is nearest to its
  // foot, or the nearest corner or side where the line does not come into the square.
  function anchor(k) {
    const [x, y] = foot(k), [u, v] = state.W[k], length = Math.hypot(u, v) || 1e-6;
    const along = [-v / length, u / length];
    const steps = [x, y].flatMap((from, j) => [-EDGE, EDGE].map((side) => (side - from) / along[j]));
    const points = [0, ...steps].filter(Number.isFinite).sort((a, c) => Math.abs(a) - Math.abs(c))
      .map((t) => [x + t * along[0], y + t * along[1]]);
    const inside = points.find((point) => point.every((each) => Math.abs(each) <= EDGE + 1e-9));
    return inside ?? [x, y].map((each) => Math.max(-EDGE, Math.min(EDGE, each)));
  }

  // Its tip: as long as the weights, but never outside of the square.
  function arrow(k) {
    const from = anchor(k), w = state.W[k];
    const rooms = w.map((each, j) => (each ? (Math.sign(each) * EDGE - from[j]) / each : Infinity));
    const reach = Math.max(0, Math.min(ARROW, ...rooms));
    return { from, tip: from.map((each, j) => each + reach * w[j]) };
  }

  const place = (element, values) =>
    Object.entries(values).forEach(([name, value]) => element.setAttribute(name, value));

  function show(name, value) {
    const output = root.querySelector(`[data-name="${name}"]`);
    output.dataset.exact = value;
    output.textContent = Math.abs(value) < 1e4 ? value.toFixed(3) : value.toExponential(1);
  }

  function draw() {
    state.W.forEach(([u, v], k) => {
      const [x, y] = foot(k), length = Math.hypot(u, v) || 1e-6, { from, tip } = arrow(k);
      const along = [(-9 * v) / length, (9 * u) / length];
      const ends = { x1: x - along[0], y1: y - along[1], x2: x + along[0], y2: y + along[1] };
      all(`[data-line="${k}"]`).forEach((line) => place(line, ends));
      place(root.querySelector(`[data-arrow="${k}"]`),
        { x1: from[0], y1: from[1], x2: tip[0], y2: tip[1] });
      place(root.querySelector(`[data-tip="${k}"]`), { cx: tip[0], cy: tip[1] });
      place(root.querySelector(`[data-region="${k}"]`), { points: region(k) });
      [u, v, state.b[k]].forEach((value, j) => {
        root.querySelector(`[data-slider="${k}${j}"]`).value = value;
        show(`parameter${k}${j}`, value);
      });
    });
    state.points.forEach((point, i) =>
      place(root.querySelector(`[data-point="${i}"]`), { transform: `translate(${point})` }));
    const marked = state.points[state.marked], label = state.labels[state.marked];
    place(root.querySelector("[data-ring]"), { transform: `translate(${marked})` });
    const s = scores(marked);
    s.forEach((score, k) => {
      show(`score${k}`, score);
    });
    root.querySelector("[data-label]").textContent = start.names[label];
    Object.entries(losses).forEach(([kind, loss]) => {
      const { value, terms } = loss(s, label);
      terms.forEach((term, k) => show(`${kind}${k}`, term));
      show(kind, value);
    });
    const { value, penalty, right, W, b } = objective();
    W.forEach((w, k) => [...w, b[k]].forEach((slope, j) => show(`slope${k}${j}`, slope)));
    show("mean", value);
    show("penalty", penalty);
    show("total", value + penalty);
    show("accuracy", right);
    show("rate", state.rate);
    show("reg", state.reg);
    root.querySelector(".exploded").hidden = value + penalty < HUGE;
  }

  // --- the hands --------------------------------------------------------------------------

  function position(event) {
    const { x, y } = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(svg.querySelector("g").getScreenCTM().inverse());
    return [x, y];
  }

  const grips = {
    point: (i, to) => { state.marked = i; if (to) state.points[i] = to; },
    line: (k, to) => { if (to) state.b[k] = -(state.W[k][0] * to[0] + state.W[k][1] * to[1]); },
    tip(k, to) { // turns the line about the place of its arrow
      if (!to) return;
      const [x, y] = anchor(k), w = [(to[0] - x) / ARROW, (to[1] - y) / ARROW];
      if (Math.hypot(...w) < 0.05) return;
      state.W[k] = w;
      state.b[k] = -(w[0] * x + w[1] * y);
    },
  };

  svg.addEventListener("pointerdown", (event) => {
    const kind = Object.keys(grips).find((name) => name in event.target.dataset);
    if (!kind) return;
    const which = Number(event.target.dataset[kind]);
    const move = (moved) => { grips[kind](which, position(moved)); draw(); };
    svg.setPointerCapture(event.pointerId);
    svg.addEventListener("pointermove", move);
    const end = () => svg.removeEventListener("pointermove", move);
    svg.addEventListener("pointerup", end, { once: true });
    svg.addEventListener("pointercancel", end, { once: true });
    grips[kind](which);
    event.preventDefault();
    draw();
  });

  // The ringed point by keys: arrows move it, Page Up and Page Down ring another one.
  function press(event) {
    const turn = { PageUp: -1, PageDown: 1 }[event.key], count = state.points.length;
    const [dx, dy] = ARROWS[event.key] ?? [0, 0];
    if (!turn && !dx && !dy) return;
    event.preventDefault();
    if (turn) state.marked = (state.marked + turn + count) % count;
    const moved = [dx, dy].map((by, j) => state.points[state.marked][j] + 0.05 * by);
    state.points[state.marked] = moved.map((each) => Math.max(-EDGE, Math.min(EDGE, each)));
    draw();
  }
  svg.addEventListener("keydown", press);

  all("[data-slider]").forEach((slider) => slider.addEventListener("input", () => {
    const [k, j] = slider.dataset.slider;
    if (j === "2") state.b[k] = Number(slider.value);
    else state.W[k][j] = Number(slider.value);
    draw();
  }));

  function reset() {
    state = structuredClone(start);
    root.querySelector(`[name=kind][value=${state.kind}]`).checked = true;
    root.querySelector("[name=rate]").value = Math.log10(state.rate);
    root.querySelector("[name=reg]").value = state.reg;
    draw();
  }

  const act = (name, action) => root.querySelector(`[data-act="${name}"]`)
    .addEventListener("click", () => { action(); draw(); });
  act("step", step);
  act("ten", () => { for (let i = 0; i < 10; i += 1) step(); });
  act("reset", reset);
  all("[name=kind]").forEach((choice) => choice.addEventListener("change", () => {
    state.kind = choice.value;
    draw();
  }));
  root.querySelector("[name=rate]").addEventListener("input", (event) => {
    state.rate = 10 ** Number(event.target.value);
    draw();
  });
  root.querySelector("[name=reg]").addEventListener("input", (event) => {
    state.reg = Number(event.target.value);
    draw();
  });
  all("[hidden]").forEach((element) => { element.hidden = false; });
  svg.setAttribute("tabindex", "0");
  svg.setAttribute("role", "application");
  reset();
})();
