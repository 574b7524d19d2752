/** The agent's version, as `/ping` tells it. It follows the package's. */
export const AGENT_VERSION = '0.1.0';
