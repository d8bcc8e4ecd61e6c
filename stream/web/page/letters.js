// ---- dead letters: what was refused, read from the log when somebody asks ----
let lettersSaid = null;
const chosenLetters = new Set(), placeOf = letter => `${letter.partition}/${letter.offset}`;

function tellLetters(text, kind = "") { by("letters-said").className = `said ${kind}`; by("letters-said").textContent = text; }

async function lookAtLetters() {
  tellLetters("Reading the newest letters from the log …");
  by("letters-look").disabled = true;
  try {
    lettersSaid = await ask("console/dead-letters", undefined, actToken);
    chosenLetters.clear();
    by("letters-look").textContent = "Look again";
    tellLetters(lettersSaid.found ? `${count(lettersSaid.found)} letters among the newest ${count(lettersSaid.looked_at)} records of each partition.` : "Nothing was refused, as far as the log remembers.");
  } catch (error) {
    lettersSaid = null;
    if (error.status === 403 || (error.status === 401 && actToken)) askOperator();
    tellLetters(error.status === 403 ? `Not allowed: ${error.message}` : `Not known: ${error.message}`, "bad");
  } finally { by("letters-look").disabled = false; }
  showLetters();
}

function askOperator() {
  confirmAct({ title: "Dead letters hold what people did", text: "They are shown to operators only: give a token of the role operate.", verb: "Show them", act: async token => {
    await ask("console/dead-letters", undefined, token);
    lookAtLetters();
  } });
}

function letterItem(letter) {
  const place = placeOf(letter), box = make("input", { type: "checkbox", "aria-label": `choose the letter at ${place}` });
  box.checked = chosenLetters.has(place);
  box.disabled = !letter.may_replay;
  box.addEventListener("change", () => { box.checked ? chosenLetters.add(place) : chosenLetters.delete(place); showChosen(); });
  const state = letter.replayed ? badge("met", "published again") : letter.may_replay ? null : badge("close", "not of an event topic: not from here");
  return make("li", {}, box, make("div", {},
    make("div", { class: "line" }, badge("missed", letter.reason), make("span", { class: "small soft" }, letter.came_at == null ? "when is not known" : `${new Date(letter.came_at * 1000).toLocaleString()} · ${ago(letter.came_at)}`), make("code", {}, `${letter.topic}/${letter.lay_at[0]}@${letter.lay_at[1]}`), state),
    letter.detail ? make("div", { class: "small clamp" }, letter.detail) : null,
    make("details", {}, make("summary", { class: "mono clamp" }, letter.text.slice(0, 200) || (letter.bytes ? "(no text)" : "(empty)")), make("pre", { tabindex: "0", "aria-label": "The event" }, letter.text), make("p", { class: "small soft" }, `key ${letter.key || "none"} · ${count(letter.bytes)} bytes`))));
}

function showLetters() {
  const wanted = by("letters-reason").value, letters = (lettersSaid?.letters ?? []).filter(letter => !wanted || letter.reason === wanted);
  by("letters").replaceChildren(...letters.map(letterItem));
  by("letters-tools").hidden = !lettersSaid?.found;
  const reasons = Object.entries(lettersSaid?.by_reason ?? {});
  by("letters-reason").replaceChildren(make("option", { value: "" }, `every reason (${count(lettersSaid?.found ?? 0)})`), ...reasons.map(([reason, n]) => make("option", { value: reason }, `${reason} (${count(n)})`)));
  by("letters-reason").value = wanted;
  showChosen();
}

function showChosen() {
  by("letters-replay").disabled = !chosenLetters.size;
  by("letters-replay").textContent = chosenLetters.size ? `Publish ${chosenLetters.size} again …` : "Publish again …";
}

function replayLetters() {
  const chosen = lettersSaid.letters.filter(letter => chosenLetters.has(placeOf(letter))), topics = [...new Set(chosen.map(letter => letter.topic))].join(", ");
  confirmAct({ title: `Publish ${chosen.length} letters again?`, text: `Their bytes, as they were, to ${topics}. Do it once what made them bad is mended; what is still wrong is refused again.`, verb: "Publish again", act: async token => {
    const said = await ask("console/dead-letters", { letters: chosen.map(letter => [letter.partition, letter.offset]) }, token);
    await lookAtLetters();
    tellLetters(`${said.sent} published again${said.left ? `, ${said.left} left: no longer there, or sent before` : ""}.`, "good");
  } });
}

by("letters-look").addEventListener("click", lookAtLetters);
by("letters-reason").addEventListener("change", showLetters);
by("letters-replay").addEventListener("click", replayLetters);
by("letters-all").addEventListener("click", () => {
  const wanted = by("letters-reason").value;
  for (const letter of lettersSaid.letters) if (letter.may_replay && (!wanted || letter.reason === wanted)) chosenLetters.add(placeOf(letter));
  showLetters();
});
