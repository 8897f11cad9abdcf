// Files of the console: a descriptor read into its text field, and uploads that resume (tus 1.0).
(() => {
  "use strict";
  const DIGEST_LIMIT = 512 * 1024 * 1024;
  const CHUNK = 8 * 1024 * 1024;

  const hex = (buffer) =>
    [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  const size = (bytes) => {
    let value = bytes;
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    while (value >= 1024 && units.length > 1) {
      value /= 1024;
      units.shift();
    }
    return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${units[0]}`;
  };

  const openInto = (place) => {
    const target = document.getElementById(place.dataset.openFile);
    const picker = place.querySelector("input[type=file]");
    place.hidden = false;
    picker.addEventListener("change", async () => {
      if (picker.files[0]) target.value = await picker.files[0].text();
    });
  };

  const line = (form, file) => {
    const item = document.createElement("li");
    const name = document.createElement("span");
    const bar = document.createElement("progress");
    const text = document.createElement("span");
    name.textContent = file.name;
    text.className = "dim";
    bar.max = file.size || 1;
    bar.value = 0;
    bar.setAttribute("aria-label", file.name);
    item.append(name, bar, text);
    form.querySelector(".uploads").append(item);
    return { item, bar, say: (words) => (text.textContent = words) };
  };

  const digestOf = async (file) => {
    if (file.size > DIGEST_LIMIT || !window.crypto || !crypto.subtle) return null;
    return hex(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  };

  const send = async (form, file) => {
    const shown = line(form, file);
    const headers = { "X-Form-Token": form.elements.form_token.value };
    shown.say(form.dataset.reading);
    const sha256 = await digestOf(file);
    if (sha256) {
      const known = await fetch(`/console/held/${sha256}`);
      if (known.ok && (await known.json()).held) {
        shown.bar.value = shown.bar.max;
        shown.say(form.dataset.known);
        return;
      }
    }
    const began = performance.now();
    await new Promise((done, failed) => {
      const upload = new tus.Upload(file, {
        endpoint: form.dataset.upload,
        chunkSize: CHUNK,
        retryDelays: [0, 1000, 3000, 5000, 10000],
        removeFingerprintOnSuccess: true,
        headers,
        metadata: sha256 ? { filename: file.name, sha256 } : { filename: file.name },
        onProgress: (sent, total) => {
          const rate = sent / Math.max(0.001, (performance.now() - began) / 1000);
          shown.bar.value = sent;
          shown.say(`${size(sent)} / ${size(total)} · ${size(rate)}/s`);
        },
        onSuccess: () => {
          shown.bar.value = shown.bar.max;
          shown.say(`${size(file.size)} · ${form.dataset.done}`);
          done();
        },
        onError: (error) => {
          shown.say(`${form.dataset.problem}: ${error.originalResponse ? error.originalResponse.getStatus() : ""}`);
          failed(error);
        },
      });
      upload.findPreviousUploads().then((before) => {
        if (before.length) upload.resumeFromPreviousUpload(before[0]);
        upload.start();
      }, failed);
    });
  };

  const uploads = (form) => {
    const picker = form.querySelector("input[type=file]");
    picker.multiple = true;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      button.disabled = true;
      form.querySelector(".uploads").replaceChildren();
      let whole = true;
      for (const file of picker.files) {
        try {
          await send(form, file);
        } catch (error) {
          whole = false;
        }
      }
      button.disabled = false;
      if (whole) location.assign(form.dataset.uploaded);
      else button.textContent = form.dataset.again;
    });
  };

  const taken = new WeakSet();
  const setUp = () => {
    for (const place of document.querySelectorAll("[data-open-file], form[data-upload]")) {
      if (taken.has(place)) continue;
      taken.add(place);
      if (place.matches("form")) {
        if (window.tus && tus.isSupported) uploads(place);
      } else openInto(place);
    }
  };
  document.addEventListener("htmx:after:swap", setUp);
  setUp();
})();
