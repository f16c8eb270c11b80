// A browser starts no worker from a page on the disk. There the search runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.documentElement.appendChild(frame)
      this.inner = frame.contentWindow
      const loader = (source) => `<script src="${source}"><\/script>`
      const answer = "<script>postMessage = (data) => parent.dispatchEvent(new MessageEvent('message', {data, source: window}))<\/script>"
      this.inner.document.open()
      this.inner.document.write(`<html><body>${answer}${loader(url)}</body></html>`)
      this.inner.document.close()
      window.addEventListener("message", (event) => {
        if (event.source === this.inner) this.dispatchEvent(new MessageEvent("message", { data: event.data }))
      })
    }

    postMessage(data) {
      const send = () => this.inner.dispatchEvent(new MessageEvent("message", { data }))
      this.inner.document.readyState === "complete" ? send() : this.inner.addEventListener("load", send)
    }

    terminate() {
      this.inner.frameElement.remove()
    }
  }
}
