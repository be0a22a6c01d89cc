// Comforts that pages do without: buttons that copy, times in the reader's own zone, forms that are sent once, and a page
// that keeps itself fresh.
"use strict";

for (const button of document.querySelectorAll("button.copy")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 4000);
  });
}

const inZone = (more) => new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short", ...more,
});
const toMinutes = inZone({}), toSeconds = inZone({ second: "2-digit" });
const localise = (root) => {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = ("seconds" in time.dataset ? toSeconds : toMinutes).format(new Date(time.dateTime));
  }
};
localise(document);

// Who presses twice means it once. After a while the button works again, in case that no answer came.
for (const form of document.querySelectorAll('form[method="post"]')) {
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
    setTimeout(() => { sent = false; }, 5000);
  });
}

// A page with a token on it answers a form. Loaded anew it must not send the form again, which would make another token.
if (document.getElementById("secret")) history.replaceState(null, "", location.href);

// The live part of a page is fetched anew while somebody may be looking at it, and for no longer than a while: a page
// left open must not keep a session alive. Whoever prefers less motion starts it by hand.
const live = document.getElementById("live"), toggle = document.getElementById("live-toggle");
if (live && toggle) {
  const every = 5000, awhile = 10 * 60 * 1000;
  let timer = 0, end = 0;
  const pause = () => {
    clearTimeout(timer);
    timer = 0;
    toggle.textContent = "Keep it fresh";
  };
  const look = async () => {
    if (Date.now() > end) return pause();
    const turn = timer;
    if (document.visibilityState === "visible") {
      try {
        const answer = await fetch(location.href, { cache: "no-store" });
        const fresh = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
        if (!fresh) return pause();
        if (timer !== turn) return; // paused meanwhile
        localise(fresh);
        live.replaceChildren(...fresh.childNodes);
      } catch { /* the gateway cannot be reached now; the time shown says how old this is */ }
    }
    if (timer === turn) timer = setTimeout(look, every);
  };
  const start = () => {
    end = Date.now() + awhile;
    toggle.textContent = "Pause";
    timer = setTimeout(look, every);
  };
  toggle.hidden = false;
  toggle.addEventListener("click", () => timer ? pause() : start());
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) pause(); else start();
}
