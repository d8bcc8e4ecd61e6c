// ---- checkpoints ----
function verdictOf(checkpoint) {
  const verdict = checkpoint.verdict;
  const text = typeof verdict === "string" ? verdict : verdict == null ? "not judged" : verdict.verdict ?? (verdict.passed ? "passed" : "rejected");
  const kind = /^(pass|promot|accept)/.test(text) ? "met" : /^(reject|fail|refus)/.test(text) ? "missed" : "";
  return [badge(kind, text), checkpoint.reasons?.join("; ") || (verdict && typeof verdict === "object" ? verdict.reason : null)];
}

async function lookAtCheckpoints() {
  let said;
  try { said = await ask("v1/checkpoints"); } catch { return; }
  const newest = [...said.checkpoints].sort((a, b) => (b.published_at ?? 0) - (a.published_at ?? 0)).slice(0, 8);
  const rows = newest.map(checkpoint => {
    const serving = checkpoint.checkpoint === said.serving, [verdict, reason] = verdictOf(checkpoint);
    return make("li", { class: serving ? "serving" : null },
      make("div", { class: "line" }, make("code", {}, checkpoint.checkpoint), serving ? badge("serving", "serving") : null, verdict),
      make("div", { class: "small soft" }, [ago(checkpoint.published_at), checkpoint.parent ? `from ${checkpoint.parent}` : "the first"].filter(Boolean).join(" · ")),
      reason ? make("div", { class: "small" }, reason) : null);
  });
  by("lineage").replaceChildren(...(rows.length ? rows : [make("li", { class: "none soft" }, "No model yet: answers come from popular, fresh and similar items until the first one is trained.")]));
}

