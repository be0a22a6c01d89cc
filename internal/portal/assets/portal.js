// Two comforts that pages do without: buttons that copy, and times in the reader's own zone.
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
for (const time of document.querySelectorAll("time[datetime]")) {
  time.textContent = ("seconds" in time.dataset ? toSeconds : toMinutes).format(new Date(time.dateTime));
}
