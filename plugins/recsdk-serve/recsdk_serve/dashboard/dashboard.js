// The page: it asks for the status every few seconds, and follows the stream of decisions. The key stays in this memory.
"use strict";

const EVERY = 3_000, KEPT = 500, MINUTE = 60;
const element = id => document.getElementById(id);
const made = (tag, text, name) => Object.assign(document.createElement(tag), { textContent: text ?? "", className: name ?? "" });
const round = (value, digits = 3) => value == null ? "–" : value.toLocaleString("en", { maximumSignificantDigits: digits });
const whole = value => value == null ? "–" : Math.round(value).toLocaleString("en");
const percent = value => value == null ? "–" : `${(100 * value).toLocaleString("en", { maximumFractionDigits: 1 })} %`;
const moment = seconds => new Date(1_000 * seconds).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const pause = milliseconds => new Promise(done => setTimeout(done, milliseconds));

let key = "", paused = false, status = null;
const live = { seconds: [], counts: new Map(), began: null };  // of the stream: durations, and {second: {decisions, rewards}} since it began

function called(path, signal = undefined) {
  return fetch(path, { headers: key ? { authorization: `Bearer ${key}` } : {}, cache: "no-store", signal });
}

/** Refuses an answer that is no success, with what the service says of it. */
async function required(answer) {
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({ message: `The service answers with ${answer.status}.` }));
  throw Object.assign(new Error(told.message), { status: answer.status, kind: told.error });
}

function refused(error) {
  if (error.kind === "NoKey" || error.kind === "NoScope") {
    element("told").textContent = error.kind === "NoScope" || key ? error.message : "";
    key = "";
    element("main").hidden = true;
    if (element("ask").hidden) { element("ask").hidden = false; element("key").focus(); }
  } else element("told").textContent = error.status ? error.message : "The service does not answer.";
}

/* The status */

async function look() {
  try {
    status = await (await required(await called("v1/status"))).json();
  } catch (error) { return refused(error); }
  element("told").textContent = "";
  element("ask").hidden = true;
  element("main").hidden = false;
  try { await show(); } catch (error) { failed(error); }
}

/** Tells of an error of the page itself. */
function failed(error) {
  element("told").textContent = `The page has failed: ${error.message}`;
  console.error(error);
}

function tile(name, value, note) {
  const box = document.createElement("div");
  box.append(made("dt", name), made("dd", value, "value"), made("dd", note, "note"));
  return box;
}

function figures() {
  const { look: { health }, models } = status, times = [...live.seconds].sort((a, b) => a - b);
  const at = share => times.length ? `${round(1_000 * times[Math.min(times.length - 1, Math.floor(share * times.length))], 2)} ms` : "–";
  element("figures").replaceChildren(
    tile("Mean reward", round(health.mean_reward_last), health.mean_reward_before == null ? "of the last outcomes" : `last 1,000; before ${round(health.mean_reward_before)}`),
    tile("Join rate", percent(health.join_rate), `of ${whole(health.settled)} decisions were answered`),
    tile("Effective items", round(health.effective_items), `of ${round(health.candidates)} candidates`),
    tile("Floor hits", percent(health.floor_share), "of what was drawn"),
    tile("Decisions", whole(health.decisions), `${whole(models.num_items)} items to choose from`),
    tile("Outcomes", whole(health.outcomes), `${whole(models.num_learned)} learned`),
    tile("Decided within", at(0.5), times.length ? `at the median; 99 % within ${at(0.99)}` : "waits for the next decision"),
  );
}

function alarms(told) {
  const list = document.createElement("ul");
  list.append(...told.map(alarm => made("li", `${alarm}.`)));
  const text = told.length ? `${told.length} alarm${told.length > 1 ? "s are" : " is"} on` : "No alarm is on";
  if (element("alarms").textContent === text + list.textContent) return;  // or a screen reader would say it again
  element("alarms").classList.toggle("on", told.length > 0);
  element("alarms").replaceChildren(made("strong", text), ...(told.length ? [list] : []));
}

function table(id, names, rows, none) {
  if (!rows.length) return element(id).replaceChildren(made("p", none, "soft"));
  const head = document.createElement("tr"), body = document.createElement("tbody"), found = document.createElement("table");
  head.append(...names.map(name => Object.assign(made("th", name.replace("#", ""), name.startsWith("#") ? "number" : ""), { scope: "col" })));
  body.append(...rows.map(cells => {
    const row = document.createElement("tr");
    row.append(...cells.map((cell, place) => cell instanceof Node ? cell : made("td", cell, names[place].startsWith("#") ? "number" : "")));
    return row;
  }));
  found.append(document.createElement("thead"), body);
  found.tHead.append(head);
  return element(id).replaceChildren(found);
}

async function show() {
  const { look, models, challengers } = status, { health } = look;
  element("policy").textContent = `${models.policy} decides, with the model ${health.model ?? "–"}.`;
  figures();
  alarms(health.alarms);
  table("challengers", ["Name", "#Outcomes", "#Advantage", "#At least", "#Share of traffic", "Gate"], challengers.map(each => [
    each.name, whole(each.num_rounds), round(each.advantage), round(each.low), percent(each.share),
    each.error ? made("td", `failed: ${each.error}`, "no long") : each.low > 0 ? made("td", "may be promoted", "yes") : "not shown to be better",
  ]), "None. recsdk.Trials lets other policies learn beside this one.");
  table("versions", ["Since", "Reason", "Model", "Policy"], [...models.published].reverse().slice(0, 20).map(each => [
    moment(each.time), each.reason, each.model, made("td", each.policy, "long")]), "Nothing yet.");
  table("checks", ["Check", "#Value"], [
    ["Answered calls survive", { "process-crash": "a crash of the process", "power-loss": "a power cut" }[models.durability] ?? models.durability],
    ["Last decision", health.last_decision == null ? "–" : moment(health.last_decision)],
    ["Last reward", health.last_reward == null ? "–" : moment(health.last_reward)],
    ...(health.default_share == null ? [] : [["Outcomes of which nothing was heard", percent(health.default_share)]]),
    ...Object.entries(health.failed).map(([part, num]) => [`Of the last 1,000 decisions without ${part}`, whole(num)]),
    ...Object.entries(health.events).map(([what, num]) => [`Of the last 1,000 events ${what}`, whole(num)]),
    ...Object.entries(health.drift).map(([name, psi]) => [`Drift of ${name} (population stability index)`, round(psi)]),
  ], "");
  element("looked").textContent = `The folder was looked at ${moment(look.time)}, which took ${round(look.seconds, 2)} s of a processor.`;
  const steps = look.choices.map(step => ({ ...step, time: 1_000 * step.time }));
  const line = (what, field) => steps.filter(step => step[field] != null).map(({ time, num, [field]: value }) => ({ time, num, what, value }));
  await charts.draw("reward", look.rewards.map(step => ({ ...step, time: 1_000 * step.time })));
  await charts.draw("items", look.items.map((each, rank) => ({ ...each, rank, id: each.id ?? "all others" })));
  await charts.draw("exploration", [...line("effective items", "effective_items"), ...line("candidates", "candidates")]);
  await charts.draw("floor", [...line("drawn", "floor_share"), ...line("expected", "floor_expected")]);
}

/* The stream */

function streaming(text, name) {
  if (element("stream").textContent === text) return;
  element("stream").textContent = text;
  element("stream").className = `pill ${name}`;
}

/** Counts from now on: what came while nobody listened, or was dropped, is of no second that is known. */
function afresh() {
  live.counts.clear();
  live.began = Date.now();
}

function heard(block) {
  const found = Object.fromEntries(block.split("\n").filter(line => line && !line.startsWith(":")).map(line => {
    const colon = line.indexOf(": ");
    return [line.slice(0, colon), line.slice(colon + 2)];
  }));
  if (found.event === "dropped") afresh();
  if (found.event !== "decided" && found.event !== "rewarded") return;
  const data = JSON.parse(found.data), second = Math.floor(Date.now() / 1_000), counts = live.counts.get(second) ?? { decisions: 0, rewards: 0 };
  if (found.event === "decided") {
    counts.decisions += 1;
    live.seconds.push(data.seconds);
    if (live.seconds.length > KEPT) live.seconds.shift();
  } else counts.rewards += data.num_new;
  live.counts.set(second, counts);
}

async function follow() {
  for (let wait = 1_000; ; wait = Math.min(2 * wait, 30_000)) {
    while (paused || element("main").hidden) await pause(200);
    const ending = new AbortController();
    element("pause").addEventListener("click", () => ending.abort(), { once: true });
    try {
      const answer = await required(await called("v1/events/decisions", ending.signal));
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      streaming("Live", "live");
      afresh();
      wait = 500;
      for (let rest = ""; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        blocks.forEach(heard);
      }
    } catch (error) {
      if (error.status) refused(error);
    }
    live.began = null;
    if (paused) { streaming("Paused", ""); wait = 500; } else { streaming("Reconnecting", "lost"); await pause(wait); }
  }
}

async function rates() {
  const now = Math.floor(Date.now() / 1_000), rows = [];
  for (const second of live.counts.keys()) if (second < now - MINUTE) live.counts.delete(second);
  for (let ago = Math.min(MINUTE, now - Math.ceil(live.began / 1_000)); ago > 0; ago--)
    for (const what of ["decisions", "rewards"]) rows.push({ ago, what, value: live.counts.get(now - ago)?.[what] ?? 0 });
  await charts.draw("rates", rows);
}

/* What the reader does */

element("ask").addEventListener("submit", async event => {
  event.preventDefault();
  key = element("key").value.trim();
  element("key").value = "";
  await look();
});
element("pause").addEventListener("click", () => {
  paused = !paused;
  element("pause").textContent = paused ? "Go on" : "Pause";
  element("pause").setAttribute("aria-pressed", String(paused));
  if (paused) streaming("Paused", "");
});

async function watching() {
  for (;;) {
    if (!paused && !document.hidden && element("ask").hidden) await look();
    await pause(EVERY);
  }
}

async function beating() {
  for (;;) {
    if (!paused && !document.hidden && status && live.began && !element("main").hidden) {
      try { figures(); await rates(); } catch (error) { failed(error); }
    }
    await pause(1_000);
  }
}

watching();
follow();
beating();
