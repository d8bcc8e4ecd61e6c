// ---- live: one stream of events from the worker; where there is no place for one, it is asked ----
const SILENT_MS = 12000, AGAIN_MS = 1000;
let shownStatus = null, missedWhileHidden = false;

function draw() {
  if (document.hidden) { missedWhileHidden = true; return; }
  missedWhileHidden = false;
  if (shownStatus) showStatus(shownStatus);
  showHour();
}
document.addEventListener("visibilitychange", () => { if (!document.hidden && missedWhileHidden) draw(); });

function lost() {
  document.body.classList.add("stale");
  by("overall").className = "badge missed";
  by("overall").textContent = "■ no connection to the worker, trying again";
  for (const { card, told } of stageCards.values()) { card.className = "card stage"; told.querySelector(".badge")?.replaceWith(badge("", "○ not known now")); }
  for (const each of by("flow").querySelectorAll(".badge")) each.replaceWith(badge("", "○ not known now"));
}

function heard(event, said) {
  document.body.classList.remove("stale");
  if (event === "history") absorbHistory(said);
  if (event === "status") { shownStatus = said; shownAt = Date.now(); }
  draw();
}

async function readStream(response, abort) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "", watch = 0;
  const alive = () => { clearTimeout(watch); watch = setTimeout(() => abort.abort(), SILENT_MS); };
  try {
    for (alive(); ;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      const events = (held + value).split("\n\n");
      held = events.pop();
      for (const text of events) {
        const [, name, data] = text.match(/^event: (\w+)\ndata: (.*)$/s) ?? [];
        if (name) heard(name, JSON.parse(data));
      }
    }
  } finally { clearTimeout(watch); }
}

async function askOnce() {  // every place is taken: the same by questions
  heard("history", await ask(`v1/history?since=${hour.process}:${hour.next}`));
  heard("status", await ask("v1/status"));
}

async function follow() {
  for (; ;) {
    const abort = new AbortController(), begun = setTimeout(() => abort.abort(), SILENT_MS);
    try {
      const response = await fetch(`console/events?since=${hour.process}:${hour.next}`, { headers: bearing(), signal: abort.signal });
      clearTimeout(begun);
      if (response.status === 401) await askForToken();
      else if (response.status === 503) await askOnce();
      else if (response.ok) await readStream(response, abort);
    } catch { /* the worker is away, or stands still */ }
    clearTimeout(begun);
    if (Date.now() - shownAt > 3000) lost();
    await new Promise(done => setTimeout(done, AGAIN_MS));
  }
}

const everyLook = [];  // all of them once more when a token was given
const every = (ms, look) => { everyLook.push(look); look(); setInterval(() => document.hidden || look(), ms); };
follow();
every(5000, lookAtCheckpoints);
every(15000, offerUsers);
every(5000, () => lookAtOwners());
every(30000, () => lookAtTopics(prefixShown));
