/* What a script adds to pages that work without one: copy buttons, a redirect URI that follows its slug, progress that goes on. */
"use strict";

{
  const copy = (button) => {
    const field = document.getElementById(button.dataset.oauthCopy);
    const done = () => { button.parentElement.querySelector("[role=status]").textContent = button.dataset.oauthCopied; };
    field.select();
    if (navigator.clipboard) {
      navigator.clipboard.writeText(field.value).then(done, () => {});
    } else if (document.execCommand("copy")) { // plain http has no clipboard of its own
      done();
    }
  };

  const follow = (field) => {
    const slug = document.getElementById("id_slug");
    if (!slug) return;
    const unnamed = field.value;
    const show = () => {
      field.value = slug.value ? field.dataset.oauthPattern.replace(field.dataset.oauthUnnamed, slug.value) : unnamed;
    };
    for (const id of ["id_slug", "id_name"]) {
      for (const event of ["input", "change", "keyup"]) {
        document.getElementById(id).addEventListener(event, () => setTimeout(show));
      }
    }
    show();
  };

  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-oauth-copy]")) {
      button.hidden = false;
      button.addEventListener("click", () => copy(button));
    }
    document.querySelectorAll("[data-oauth-pattern]").forEach(follow);
    document.querySelectorAll("form[data-oauth-continue]").forEach((form) => form.requestSubmit());
  });
}
