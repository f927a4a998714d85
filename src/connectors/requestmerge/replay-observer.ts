import type { MergeObserver } from "../../omni/merge.ts";
import { markOf, type SentMark } from "../../omni/sent-marks.ts";

/** Requests that went out together. */
export interface SentRequests {
  readonly marks: SentMark[];
  /** The position of the first line of the oldest. */
  oldest: number;
}

/** Notes which requests were sent, and says nothing of what an earlier process has told already. */
export class ReplayObserver implements MergeObserver {
  readonly #next: MergeObserver;
  readonly #notesSent: boolean;
  #sent: SentRequests = { marks: [], oldest: Number.POSITIVE_INFINITY };
  /** While the work of an earlier process is repeated. */
  isReplaying = false;

  /** @param notesSent false: nobody calls `takeSent` */
  constructor(next: MergeObserver, notesSent: boolean) {
    this.#next = next;
    this.#notesSent = notesSent;
  }

  /** The requests that were sent since the last call. */
  takeSent(): SentRequests {
    const sent = this.#sent;
    this.#sent = { marks: [], oldest: Number.POSITIVE_INFINITY };
    return sent;
  }

  request(...told: Parameters<MergeObserver["request"]>): void {
    if (this.isReplaying) return;
    const [request] = told;
    if (this.#notesSent) {
      this.#sent.marks.push(markOf(request));
      this.#sent.oldest = Math.min(this.#sent.oldest, request.position);
    }
    this.#next.request(...told);
  }
  merged(...told: Parameters<MergeObserver["merged"]>): void {
    if (!this.isReplaying) this.#next.merged(...told);
  }
  unmerged(...told: Parameters<MergeObserver["unmerged"]>): void {
    if (!this.isReplaying) this.#next.unmerged(...told);
  }
  guessed(): void {
    if (!this.isReplaying) this.#next.guessed();
  }
  late(...told: Parameters<MergeObserver["late"]>): void {
    if (!this.isReplaying) this.#next.late(...told);
  }
  earlyRelease(): void {
    if (!this.isReplaying) this.#next.earlyRelease();
  }
  instanceClock(...told: Parameters<MergeObserver["instanceClock"]>): void {
    this.#next.instanceClock(...told);
  }
}
