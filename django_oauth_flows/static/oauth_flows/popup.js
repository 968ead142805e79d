/* Popup mode. A form with data-oauth-flows-popup connects in a window of its own; that window's last page tells this one, and
   closes once it was heard. Ids only, and only to windows of exactly this origin. Without this script the form goes on in the
   page itself. The channel reaches the page where Cross-Origin-Opener-Policy has parted it from its window. */
"use strict";
(() => {
  if (window.oauthFlowsPopup) return;
  window.oauthFlowsPopup = true;
  const CONNECTED = "oauth_flows.connected";
  const HEARD = "oauth_flows.heard";
  const channel = "BroadcastChannel" in window ? new BroadcastChannel("oauth_flows") : null;

  const listen = (hear) => {
    const only = (event) => {
      if (event.origin === window.location.origin && event.data) hear(event.data, event.source);
    };
    window.addEventListener("message", only);
    if (channel) channel.addEventListener("message", only);
  };
  const say = (said, to) => {
    if (channel) channel.postMessage(said);
    if (to && !to.closed) to.postMessage(said, window.location.origin);
  };

  const tell = (landing) => {
    const popup = landing.dataset.oauthFlowsConnected;
    listen((said) => {
      if (said.type === HEARD && said.popup === popup) window.close();
    });
    say({ type: CONNECTED, popup, connection: landing.dataset.connection }, window.opener);
  };

  const goOn = (next) => {
    const address = new URL(next || window.location.href, window.location.href);
    if (address.origin !== window.location.origin || address.href === window.location.href) window.location.reload();
    else window.location.assign(address.href);
  };

  const waiting = new Map();
  listen((said, window_) => {
    const form = said.type === CONNECTED ? waiting.get(said.popup) : undefined;
    if (!form) return;
    waiting.delete(said.popup);
    say({ type: HEARD, popup: said.popup }, window_);
    const told = new CustomEvent("oauth_flows:connected", {
      bubbles: true, cancelable: true, detail: { connection: said.connection },
    });
    if (form.dispatchEvent(told)) window.setTimeout(() => goOn(form.elements.namedItem("next").value), 50);
  });

  const open = (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || !("oauthFlowsPopup" in form.dataset)) return;
    const popup = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const left = window.screenX + Math.max(0, (window.outerWidth - 560) / 2);
    const opened = window.open("about:blank", `oauth_flows_${popup}`, `popup,width=560,height=720,left=${left}`);
    if (!opened) return;
    const field = form.elements.namedItem("popup");
    [form.target, field.value] = [`oauth_flows_${popup}`, popup];
    waiting.set(popup, form);
    window.setTimeout(() => {
      form.removeAttribute("target");
      field.value = "";
    });
  };

  const landing = document.querySelector("[data-oauth-flows-connected]");
  if (landing) tell(landing);
  document.addEventListener("submit", open);
})();
