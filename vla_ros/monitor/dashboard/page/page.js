"use strict";
const $ = id => document.getElementById(id);
const SPAN = 10;          // seconds of joints that are drawn
const FRESH_S = 3;        // a node that says nothing for longer is silent
const STARTING_S = 30;    // so long after the dashboard's own start, what is absent may still be on its way
const PICTURES_AT_ONCE = 3; // a browser opens six connections: some stay free, so that STOP need not queue for one
const DEAF = "STOP IS NOT CONFIRMED: the dashboard does not answer. Press the emergency stop of the robot.";

// ---- asking the server -------------------------------------------------------------------------------------------
let session = sessionStorage.getItem("session") || "", token = sessionStorage.getItem("token") || "";
const underWay = new Set();  // whatever may be given up in favour of STOP

function ask(path, options, limitMs, mayEnd) {
  const control = new AbortController(), timer = setTimeout(() => control.abort(), limitMs);
  if (mayEnd) underWay.add(control);
  const headers = { ...(options.headers || {}), ...(session ? { Authorization: "Bearer " + session } : {}) };
  return fetch(path, { cache: "no-store", ...options, headers, signal: control.signal })
    .finally(() => { clearTimeout(timer); underWay.delete(control); });
}
function send(path, body, limitMs, mayEnd, headers) {
  return ask(path, { method: "POST", headers: { "X-Vla-Ros": "1", "Content-Type": "application/json", ...(headers || {}) },
                     body: JSON.stringify(body || {}) }, limitMs, mayEnd);
}
async function words(answer) {
  const text = await answer.text();
  try { return JSON.parse(text); } catch { return { done: false, message: text }; }
}
async function login() {
  if (!token) return false;
  const kept = session; session = token;
  try {
    const answer = await send("login", {}, 3000), found = await words(answer);
    session = answer.ok ? found.session : kept;
    if (answer.ok) { sessionStorage.setItem("session", session); sessionStorage.setItem("token", token); }
    else { token = ""; sessionStorage.removeItem("token"); say(found.message); }  // asked again and again, it would count as guessing
    return answer.ok;
  } catch { session = kept; return false; }
}

// ---- what a person does ------------------------------------------------------------------------------------------
let stopping = false, quiet = 0;
function say(text, seconds = 8) {
  $("note").textContent = text || ""; $("note").hidden = !text;
  clearTimeout(quiet); quiet = setTimeout(() => { $("note").hidden = true; }, 1000 * seconds);
}
function alarm(text) { $("alarm").textContent = text; $("alarm").hidden = !text; }

async function press(path, body) {
  try {
    const found = await words(await send(path, body, 4000));
    say(found.done ? "" : found.message);
  } catch { say("the dashboard does not answer"); }
}
async function stop() {
  for (const control of underWay) control.abort();  // pictures and states can wait
  if (stopping) { send("stop", {}, 5000).catch(() => {}); return; }
  stopping = true;
  const late = setTimeout(() => alarm(DEAF), 1500);  // said in time; what was sent may still arrive, and is not given up
  try {
    for (let tries = 0; tries < 20; tries++) {
      try {
        const answer = await send("stop", {}, 5000), found = await words(answer);
        if (answer.status === 401) { if (await login()) continue; alarm("STOP needs a log-in: press the emergency stop of the robot"); return; }
        clearTimeout(late);
        if (answer.ok) { alarm(""); say(found.done ? "" : found.message, 10); return; }
        alarm(DEAF + " (" + found.message + ")");
      } catch { alarm(DEAF); }
      await new Promise(done => setTimeout(done, 300));
    }
  } finally { stopping = false; clearTimeout(late); }
}
$("stop").onclick = stop;
$("arm").onclick = () => press("arm");
$("release").onclick = () => press("release");
$("say").onsubmit = event => { event.preventDefault(); edited = false; press("instruct", { instruction: $("sentence").value }); $("sentence").blur(); };
$("login").onsubmit = async event => { event.preventDefault(); token = $("token").value.trim(); if (await login()) { $("token").value = ""; $("login").hidden = true; $("token").blur(); } };
const typing = () => document.activeElement === $("sentence") || document.activeElement === $("token");
for (const kind of ["keydown", "keyup"]) document.addEventListener(kind, event => {
  if (event.code !== "Escape" && !(event.code === "Space" && !typing())) return;
  event.preventDefault(); event.stopPropagation();  // on a button that has the focus, too
  if (kind === "keydown" && !event.repeat) stop();
}, true);
for (const kind of ["focusin", "focusout"]) document.addEventListener(kind, () => setTimeout(() => { $("key").textContent = typing() ? "Esc" : "space"; }));

// ---- I am watching: a heartbeat, as long as this page is seen and sees -------------------------------------------
let beating = false, seenAt = -1e9;
setInterval(async () => {
  const sees = document.visibilityState === "visible" && performance.now() - seenAt < 1000;
  if (!$("watch").checked || !sees || beating) return;
  beating = true;
  try { await send("alive", {}, 400, true); } catch { /* the next one tells */ } finally { beating = false; }
}, 200);

// ---- pictures ----------------------------------------------------------------------------------------------------
const waiting = [], pictures = new Map();
function picture(parent, name, caption) {
  if (pictures.has(name)) return;
  const empty = parent.querySelector(".empty"); if (empty) empty.remove();
  const figure = document.createElement("figure"), image = new Image(), text = document.createElement("figcaption");
  image.id = "picture " + name; image.alt = name; text.textContent = caption; figure.append(image, text); parent.append(figure);
  image.addEventListener("load", () => {
    const ratio = image.naturalWidth / image.naturalHeight;
    if (ratio !== pictures.get(name)?.ratio) { pictures.set(name, { image, figure, ratio }); figure.style.flexGrow = ratio.toFixed(3); fit(); }
    if (image.dataset.last) URL.revokeObjectURL(image.dataset.last);
    image.dataset.last = image.src;
  });
  pictures.set(name, { image, figure, ratio: 4 / 3 }); waiting.push(name); fit();
}
function remove(name) { pictures.get(name).figure.remove(); pictures.delete(name); fit(); }

// Cameras are as large as the window allows: in one to n rows, or the first one large and the others in a column.
// An arrangement is a list of [x, y, width, height].
const GAP = 10, PLOT_HEIGHT = 92, JOINTS_FRAME = 50, PLOTS_IN_A_ROW = 8;
const area = boxes => boxes.reduce((sum, [, , w, h]) => sum + w * h, 0);
function inRows(ratios, count, width, height) {
  const size = Math.ceil(ratios.length / count), rows = [];
  for (let at = 0; at < ratios.length; at += size) rows.push(ratios.slice(at, at + size));
  const sums = rows.map(row => row.reduce((a, b) => a + b));
  const full = rows.map((row, n) => (width - GAP * (row.length - 1)) / sums[n]), gaps = GAP * (rows.length - 1);
  const scale = Math.min(1, (height - gaps) / full.reduce((a, b) => a + b)), boxes = [];
  let y = 0;
  rows.forEach((row, n) => {
    const h = full[n] * scale; let x = (width - h * sums[n] - GAP * (row.length - 1)) / 2;
    for (const ratio of row) { boxes.push([x, y, h * ratio, h]); x += h * ratio + GAP; }
    y += h + GAP;
  });
  return boxes;
}
function besideFirst([first, ...others], width, height) {
  const tall = others.reduce((sum, ratio) => sum + 1 / ratio, 0), gaps = GAP * (others.length - 1);  // of the column, per width
  const h = Math.min(height, (width - GAP + gaps / tall) / (first + 1 / tall)), w = (h - gaps) / tall;
  const left = (width - first * h - GAP - w) / 2, boxes = [[left, 0, first * h, h]];
  let y = 0;
  for (const ratio of others) { boxes.push([left + first * h + GAP, y, w, w / ratio]); y += w / ratio + GAP; }
  return boxes;
}
function roomForCameras() {  // from the top of the cameras to the bottom of the window, less what stands below them
  if (!matchMedia("(min-width:1101px)").matches) return innerHeight * .6;
  const below = 40 + ($("expect").hidden ? 0 : $("expect").offsetHeight + 12), rows = Math.ceil($("plots").children.length / PLOTS_IN_A_ROW) || 1;
  return Math.max(180, innerHeight - $("live").getBoundingClientRect().top - scrollY - below - JOINTS_FRAME - rows * PLOT_HEIGHT);
}
function fit() {
  const shown = [...pictures.values()].filter(one => one.figure.parentElement === $("live")); if (!shown.length) return;
  const ratios = shown.map(one => one.ratio), width = $("live").clientWidth, height = roomForCameras();
  const found = shown.map((_, n) => inRows(ratios, n + 1, width, height));
  if (shown.length > 1) found.push(besideFirst(ratios, width, height));
  const best = found.reduce((a, b) => area(b) > area(a) ? b : a);
  $("live").style.height = Math.floor(Math.max(...best.map(([, y, , h]) => y + h))) + "px";
  shown.forEach(({ figure }, n) => ["left", "top", "width", "height"].forEach((side, k) => { figure.style[side] = Math.floor(best[n][k]) + "px"; }));
}
const fitted = new ResizeObserver(fit); fitted.observe($("live")); fitted.observe($("expect")); addEventListener("resize", fit);
async function look() {
  const name = waiting.shift(), shown = name && pictures.get(name);
  if (!shown) { setTimeout(look, 50); return; }
  let pause = 100;
  try {
    const answer = await ask("frame/" + encodeURIComponent(name), {}, 5000, true);
    if (!answer.ok) throw new Error();
    shown.image.src = URL.createObjectURL(await answer.blob());
  } catch { pause = 1000; }
  setTimeout(() => waiting.push(name), pause);
  look();
}
for (let n = 0; n < PICTURES_AT_ONCE; n++) look();

// ---- drawing -----------------------------------------------------------------------------------------------------
const rows = [], scores = []; let plan = null, planAt = 0, told = "";
function context(canvas) {
  const scale = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  const width = Math.round(w * scale), height = Math.round(h * scale);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const pen = canvas.getContext("2d"); pen.setTransform(scale, 0, 0, scale, 0, 0); pen.clearRect(0, 0, w, h); return [pen, w, h];
}
function line(pen, points, colour) {
  pen.strokeStyle = colour; pen.lineWidth = 1.6; pen.beginPath(); let down = false;
  for (const [x, y] of points) {
    if (y === null || !isFinite(y)) { down = false; continue; }
    if (down) pen.lineTo(x, y); else pen.moveTo(x, y);
    down = true;
  }
  pen.stroke();
}
function plot(canvas, column, now) {
  const [pen, w, h] = context(canvas), values = [];
  const future = plan && plan.joints && plan.joints[column] && now - planAt < 3 ? plan.joints[column] : [];
  for (const row of rows) values.push(row.measured && row.measured[column], row.sent && row.sent[column]);
  const good = [...values, ...future].filter(v => typeof v === "number" && isFinite(v)); if (!good.length) return;
  let low = Math.min(...good), high = Math.max(...good); const pad = Math.max((high - low) * .12, .01); low -= pad; high += pad;
  const x = t => (t - now + SPAN) / (SPAN + 1.5) * w, y = v => typeof v === "number" ? h - (v - low) / (high - low) * h : null;
  pen.fillStyle = "#1b232c"; pen.fillRect(x(now), 0, w, h);
  line(pen, rows.map(r => [x(r.t), y(r.sent && r.sent[column])]), "#e0a83c"); line(pen, rows.map(r => [x(r.t), y(r.measured && r.measured[column])]), "#3fb97f");
  line(pen, future.map((v, i) => [x(planAt + (i + 1) * plan.step_s), y(v)]), "#5aa9ff");
}
function surprise(values, now) {
  const score = parseFloat(values["surprise"]), warn = parseFloat(values["surprise warn"]), error = parseFloat(values["surprise error"]);
  $("score").textContent = isFinite(score) ? score.toFixed(2) : "–"; $("score").className = score >= error ? "error" : score >= warn ? "warn" : "";
  $("limits").textContent = isFinite(warn) ? `warning ${warn.toFixed(2)}, alarm ${error.toFixed(2)}` : "not calibrated";
  if (isFinite(score)) scores.push([now, score]); while (scores.length && now - scores[0][0] > 60) scores.shift();
  const [pen, w, h] = context($("surprise")), top = Math.max(1, isFinite(error) ? error * 1.3 : 1, ...scores.map(s => s[1]));
  const y = v => h - v / top * h; line(pen, scores.map(([t, v]) => [(t - now + 60) / 60 * w, y(v)]), "#5aa9ff");
  pen.setLineDash([5, 5]); for (const [limit, colour] of [[warn, "#e0a83c"], [error, "#ee5b5b"]]) if (isFinite(limit)) line(pen, [[0, y(limit)], [w, y(limit)]], colour); pen.setLineDash([]);
}
function make(kind, name, text) { const found = document.createElement(kind); if (name) found.className = name; if (text !== undefined) found.textContent = text; return found; }

// ---- what a state means ------------------------------------------------------------------------------------------
// A node is heard, silent although it was heard, starting (in the graph, or perhaps on its way), or absent.
function condition(state, name) {
  const says = state.nodes[name];
  if (says && says.age_s < FRESH_S) return { level: says.level, text: says.message, heard: true };
  if (says) return { level: "error", text: `silent for ${says.age_s.toFixed(0)} s` };
  if (state.present.includes(name) || state.up_s < STARTING_S) return { level: "warn", text: "starting", starting: true };
  return { level: "error", text: "not running", absent: true };
}
function showMode(state) {
  const found = condition(state, "commander"), values = found.heard ? state.nodes.commander.values : {};
  const locked = state.locked_out || /^(true|1)$/i.test(values["locked_out"] || values["locked out"] || "");
  $("mode").textContent = found.heard ? values.mode || "?" : found.starting ? "starting" : found.absent ? "no commander" : "commander silent";
  $("mode").className = found.level;
  $("lock").hidden = $("release").hidden = !locked; $("arm").disabled = locked;
  const why = locked ? "STOP was pressed: press Release, then Arm, once the robot may move. " : "";
  const reason = found.heard ? (values.reason === values.mode ? "" : values.reason || "") : found.starting ? "the commander is starting" : found.absent ? "start the commander node" : "see why the commander is silent: " + found.text;
  $("reason").textContent = why + reason;
  $("watching").className = state.dead_man_s > 0 && !state.watched ? "wanted" : "";
  $("deadman").textContent = "Press Space, or Esc while you type. " + (state.dead_man_s > 0
    ? `The robot moves only while somebody is watching, and stops ${state.dead_man_s} s after the last sign of it (guard.dead_man_s). `
      + (state.watched ? "Somebody is watching now." : "“I am watching” counts while this page is visible; nobody is watching now.")
    : "The robot goes on if this page or the dashboard is gone: its dead-man option (guard.dead_man_s) is off.");
}
function showNodes(state) {
  const names = [...new Set([...Object.keys(state.nodes), "commander", "policy"])].sort();
  $("nodes").replaceChildren(...names.map(name => {
    const found = condition(state, name), row = make("div", "node");
    row.append(make("i", "dot " + found.level), make("b", "", name), make("span", "", found.text)); return row;
  }));
}
function showPictures(state) {
  for (const name of state.pictures) {
    if (state.expected.includes(name)) picture($("compare"), name, name.replace(" expected", ""));
    else picture($("live"), name, name);
  }
  for (const name of pictures.keys()) if (!state.pictures.includes(name)) remove(name);
  const found = condition(state, "world_model"), shown = state.pictures.some(name => state.expected.includes(name));
  $("expect").hidden = found.absent && !shown; $("surprised").hidden = !found.heard;
  $("imagining").hidden = shown;
  $("imagining").textContent = "world model: " + (found.heard ? found.text || "no prediction yet" : found.text);
  if (!$("surprised").hidden) surprise((state.nodes.world_model || { values: {} }).values, performance.now() / 1000);
}
function showJoints(state, now) {
  rows.push({ t: now, measured: state.measured, sent: state.sent }); while (now - rows[0].t > SPAN) rows.shift();
  if (state.plan.at_s !== (plan || {}).at_s) { plan = state.plan; planAt = now; }
  state.joints.forEach((name, i) => {
    let canvas = document.getElementById("joint " + name);
    if (!canvas) {
      const box = make("div", "plot"), title = make("div", "name"); canvas = make("canvas"); canvas.id = "joint " + name;
      const hold = make("div", "hold"); hold.append(canvas);  // a canvas of its own height would make its box grow with it
      title.append(make("span", "", name.replace("_joint", "").replaceAll("_", " ")), make("span")); box.append(title, hold); $("plots").append(box);
      if (i === state.joints.length - 1) { $("plots").style.setProperty("--columns", Math.ceil(state.joints.length / Math.ceil(state.joints.length / PLOTS_IN_A_ROW))); fit(); }
    }
    const value = state.measured && state.measured[i];
    canvas.parentElement.previousElementSibling.lastChild.textContent = typeof value === "number" ? value.toFixed(3) : "–"; plot(canvas, i, now);
  });
}
function showEpisode(state) {
  const found = state.episode, count = found.succeeded + found.failed;
  const last = { true: "succeeded", false: "failed", null: "ended" }[String(found.last)];
  const running = found.running_s !== null;
  $("outcome").textContent = running ? `running, ${found.running_s.toFixed(0)} s` : found.ended ? last : "none yet";
  $("outcome").className = running ? "" : found.last === true ? "ok" : found.last === false ? "error" : "";
  $("task").textContent = state.instruction ? "“" + state.instruction + "”" : "no instruction yet";
  $("tally").textContent = !found.ended ? "no episode has ended yet"
    : (running ? `the last one ${last} · ` : "") + (count ? `${found.succeeded} of ${count} succeeded` : `${found.ended} ended`);
}
function showLog(state) {
  const key = JSON.stringify(state.events); if (key === told) return; told = key;
  $("log").replaceChildren(...state.events.slice().reverse().map(event => {
    const row = make("li", event.level); row.append(make("time", "", new Date(1000 * event.at_s).toLocaleTimeString("en-GB")), make("span", "", event.text)); return row;
  }));
  if (!state.events.length) $("log").append(make("li", "", "nothing yet"));
}
const SHORT = ["", "inference", "camera to command", "the same without inference"]; let whole = false;
$("whole").onclick = () => { whole = !whole; };
function showTimes(state) {
  const times = Object.entries({ "": ["p50 ms", "p99 ms"], ...state.stages }).filter(([name]) => whole || SHORT.includes(name));
  $("stages").replaceChildren(...times.map(([name, times]) => {
    const row = make("tr"); for (const text of [name, ...times]) row.append(make("td", "", text === null ? "–" : typeof text === "number" ? text.toFixed(1) : text)); return row;
  }));
}
let edited = false, instruction = "";  // what a person types is theirs until it is sent
$("sentence").oninput = () => { edited = true; };
function show(state) {
  const now = performance.now() / 1000;
  $("robot").textContent = state.robot;
  if (state.instruction !== instruction) { instruction = state.instruction; if (!edited && !typing()) $("sentence").value = instruction; }
  showMode(state); showNodes(state); showPictures(state); showJoints(state, now); showEpisode(state); showLog(state); showTimes(state);
}
function showNone(text) {
  $("mode").textContent = "no connection"; $("mode").className = "error"; $("reason").textContent = text;
}
async function loop() {
  try {
    const answer = await ask("state", {}, 3000, true);
    if (answer.status === 401) {
      if (!await login()) { $("login").hidden = false; showNone("log in with the token that the dashboard was started with"); }
    } else if (!answer.ok) throw new Error(await answer.text());
    else { const state = await answer.json(); seenAt = performance.now(); $("login").hidden = true; show(state); }
  } catch (error) {
    if (performance.now() - seenAt > 1000) showNone(error.name === "AbortError" ? "the dashboard does not answer" : String(error.message || error));
  }
  setTimeout(loop, 150);
}
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) { token = given; history.replaceState(null, "", location.pathname); }
(given ? login() : Promise.resolve()).finally(loop);
