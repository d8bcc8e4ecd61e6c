// ---- acts: each is asked twice, and bears a token where this system has any ----
let actToken = "";  // of the role operate: in this page's memory, and nowhere else

function confirmAct({ title, text, word = "", verb, act }) {
  const dialog = by("second"), form = dialog.querySelector("form"), told = by("second-told");
  by("h-second").textContent = title;
  by("second-text").textContent = text;
  by("second-word").textContent = word;
  by("second-typed").value = "";
  by("second-typed").closest("label").hidden = !word;
  by("act-token").value = actToken;
  by("second-go").textContent = verb;
  told.textContent = "";
  told.hidden = true;
  form.onsubmit = async event => {
    event.preventDefault();
    const fail = message => { told.textContent = message; told.hidden = false; };
    if (word && by("second-typed").value.trim() !== word) return fail("That is not its name: type it as it stands above.");
    actToken = by("act-token").value.trim();
    by("second-go").disabled = true;
    try { await act(actToken); if (dialog.open) dialog.close(); } catch (error) {
      fail(error.status === 401 || error.status === 403 ? `Not allowed: ${error.message}` : error.message || "the worker did not answer: look what is so before you try again");
    } finally { by("second-go").disabled = false; }
  };
  dialog.showModal();
  by(word ? "second-typed" : "second-go").focus();
}
