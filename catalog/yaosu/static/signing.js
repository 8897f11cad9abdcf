// Signing keys of this browser: made here (Ed25519, WebCrypto), kept in IndexedDB, used to sign
// digests. The private half is stored non-extractable; a copy is saved only where asked for.
(() => {
  "use strict";
  const PREFIX = "yaosu-signature-v1\n";
  const STORE = "signing-keys";

  const base64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));

  const open = () =>
    new Promise((done, failed) => {
      const asked = indexedDB.open("yaosu", 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore(STORE);
      asked.onsuccess = () => done(asked.result);
      asked.onerror = () => failed(asked.error);
    });

  const request = async (mode, ask) => {
    const db = await open();
    try {
      return await new Promise((done, failed) => {
        const change = db.transaction(STORE, mode);
        const asked = ask(change.objectStore(STORE));
        change.oncomplete = () => done(asked.result);
        change.onerror = () => failed(change.error);
      });
    } finally {
      db.close();
    }
  };

  const kept = (publicKey) => request("readonly", (store) => store.get(publicKey));

  const save = (name, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/x-pem-file" }));
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  const pem = (buffer) =>
    `-----BEGIN PRIVATE KEY-----\n${base64(buffer).replace(/(.{64})(?=.)/g, "$1\n")}\n-----END PRIVATE KEY-----\n`;

  const make = async (copy) => {
    const pair = await crypto.subtle.generateKey({ name: "Ed25519" }, copy, ["sign", "verify"]);
    const publicKey = base64(await crypto.subtle.exportKey("raw", pair.publicKey));
    let privateKey = pair.privateKey;
    if (copy) {
      const file = await crypto.subtle.exportKey("pkcs8", privateKey);
      privateKey = await crypto.subtle.importKey("pkcs8", file, { name: "Ed25519" }, false, ["sign"]);
      save("yaosu-signing-key.pem", pem(file));
    }
    await request("readwrite", (store) => store.put(privateKey, publicKey));
    return publicKey;
  };

  const sign = async (publicKey, digest) => {
    const key = await kept(publicKey);
    const message = new TextEncoder().encode(PREFIX + digest);
    return base64(await crypto.subtle.sign({ name: "Ed25519" }, key, message));
  };

  const fail = (form) => {
    const note = form.querySelector("[data-failed]");
    if (note) note.hidden = false;
    for (const button of form.querySelectorAll("button")) button.disabled = false;
  };

  const taken = new WeakSet();
  const take = (form, work) => {
    if (taken.has(form)) return;
    taken.add(form);
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      for (const button of form.querySelectorAll("button")) button.disabled = true;
      work().then(() => form.submit(), () => fail(form));
    });
  };

  const setUp = async () => {
    if (!window.isSecureContext || !crypto.subtle || !window.indexedDB) return;
    for (const form of document.querySelectorAll("form[data-new-key]")) {
      take(form, async () => {
        const copy = form.querySelector("[data-keep-copy]").checked;
        form.elements.public_key.value = await make(copy);
      });
    }
    for (const row of document.querySelectorAll("tr[data-public-key]")) {
      const mark = row.querySelector("[data-here]");
      if (mark && (await kept(row.dataset.publicKey))) mark.hidden = false;
    }
    for (const place of document.querySelectorAll("[data-sign]")) {
      const form = place.querySelector("[data-sign-here]");
      if (!form) continue;
      for (const key of place.querySelectorAll("[data-key]")) {
        if (!(await kept(key.dataset.publicKey))) continue;
        form.querySelector("[data-key-name]").textContent = key.dataset.label;
        take(form, async () => {
          form.elements.key.value = key.dataset.key;
          form.elements.value.value = await sign(key.dataset.publicKey, place.dataset.sign);
        });
        break;
      }
    }
  };

  document.addEventListener("htmx:after:swap", setUp);
  setUp();
})();
