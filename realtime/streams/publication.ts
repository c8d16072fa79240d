/** An event as it lies in its stream, rendered. */
export interface Publication {
  readonly offset: number
  readonly type: string
  /** The payload as JSON text, as its content is now. */
  readonly payload: string
}
