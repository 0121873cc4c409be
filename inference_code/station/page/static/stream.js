// Server-sent events through fetch, which can send a key where EventSource cannot; it begins again by itself.

const FIRST_WAIT = 500, LONGEST_WAIT = 5000; // milliseconds between attempts
const SILENCE = 12000; // after which a service that says nothing is out of touch; it says something every 5 s

export class Stream {
  // `ask` fetches; `take` gets what is in an event; `touch` is told whether the service is in touch.
  constructor(path, ask, take, touch) {
    Object.assign(this, { path, ask, take, touch, last: null, attempt: null, wait: FIRST_WAIT });
  }

  start() {
    if (!this.attempt) this.run();
  }

  stop() {
    const { attempt } = this;
    this.attempt = null;
    attempt?.abort();
  }

  async run() {
    for (let attempt; attempt === this.attempt || !attempt;) {
      attempt = this.attempt = new AbortController();
      try {
        await this.read(attempt);
      } catch (error) {
        if (error.refused) this.stop(); // a key is asked for, with which it is started again
      }
      if (attempt !== this.attempt) return;
      this.touch(false);
      await new Promise((done) => setTimeout(done, this.wait));
      this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
    }
  }

  async read(attempt) {
    let silence = setTimeout(() => attempt.abort(), SILENCE);
    try {
      const headers = this.last ? { "Last-Event-ID": this.last } : {};
      const response = await this.ask(this.path, { headers, signal: attempt.signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(silence);
        silence = setTimeout(() => attempt.abort(), SILENCE);
        this.wait = FIRST_WAIT;
        this.touch(true);
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        events.forEach((event) => this.event(event));
      }
    } finally {
      clearTimeout(silence);
    }
  }

  event(text) {
    const fields = Object.fromEntries(text.split("\n").map((line) => {
      const colon = line.indexOf(": ");
      return [line.slice(0, colon), line.slice(colon + 2)];
    }));
    if (!fields.data) return;
    this.take(JSON.parse(fields.data));
    this.last = fields.id;
  }
}
