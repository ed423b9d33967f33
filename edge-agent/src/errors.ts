/** What can go wrong in an agent, as stable codes. */
export type AgentErrorCode =
  /** An address or port cannot be bound. */
  | 'LISTEN'
  /** A snapshot cannot be compiled or applied. */
  | 'PLAN'
  /** The last-known-good store cannot be read or written. */
  | 'STORE'
  /** What should run is not signed by the control plane that this agent joined. */
  | 'SIGNATURE'
  /** The control plane refused or cannot be understood. */
  | 'LINK'
  /** A command line or a setting is wrong. */
  | 'USAGE';

/** An error whose message is fit for an operator: what, where, found, allowed. */
export class AgentError extends Error {
  readonly code: AgentErrorCode;
  constructor(code: AgentErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AgentError';
    this.code = code;
  }
}
