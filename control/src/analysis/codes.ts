/**
 * Every message that analysis gives. Codes, names and levels are Istio's, so that scripts and suppressions written for
 * `istioctl analyze` hold; what they mean for a mesh without sidecars and gateways is told in `about`.
 */

/** From the least to the worst. */
export const LEVELS = ["Info", "Warning", "Error"] as const;
export type Level = (typeof LEVELS)[number];

interface CodeEntry {
  readonly name: string;
  readonly level: Level;
  /** When it is given, and what to do. For docs/reference/analysis.md. */
  readonly about: string;
}

export const CODES = {
  IST0001: {
    name: "InternalError",
    level: "Error",
    about: "A check failed by a fault of ours; please report it with the object.",
  },
  IST0002: {
    name: "Deprecated",
    level: "Warning",
    about: "The object uses a field that a newer one has replaced; the message names it.",
  },
  IST0101: {
    name: "ReferencedResourceNotFound",
    level: "Error",
    about:
      "The object names another that does not exist: a host, a subset, a port, a gateway, a delegate, a waypoint, a provider, the target of a policy or the parent or backend of a route.",
  },
  IST0102: {
    name: "NamespaceNotInjected",
    level: "Info",
    about:
      "The namespace says nothing of the mesh. Label it `istio.io/dataplane-mode: ambient` to bring its pods in, or `none` to say that it stays out.",
  },
  IST0103: {
    name: "PodMissingProxy",
    level: "Warning",
    about:
      "A running pod is meant to be in the mesh, and no agent has captured it. See the log of the agent on its node, or `weft describe pod`.",
  },
  IST0106: {
    name: "SchemaValidationError",
    level: "Error",
    about:
      "The object is not valid. The last valid version stays in force; without one, what is understood is, and nothing more is allowed by it. The admission webhook refuses such objects.",
  },
  IST0107: {
    name: "MisplacedAnnotation",
    level: "Warning",
    about: "An annotation is on a kind of object that nobody looks for it on.",
  },
  IST0108: {
    name: "UnknownAnnotation",
    level: "Warning",
    about: "An annotation of Istio's or ours that does not exist; mostly a typing error.",
  },
  IST0109: {
    name: "ConflictingMeshGatewayVirtualServiceHosts",
    level: "Error",
    about:
      "Several VirtualServices of the mesh are for one host. Waypoints put their rules one after the other, the oldest object first; sidecars would take the oldest alone. Merge them, or export them to different namespaces.",
  },
  IST0112: {
    name: "VirtualServiceDestinationPortSelectorRequired",
    level: "Error",
    about: "The destination has several ports and the rule says none.",
  },
  IST0116: {
    name: "DeploymentAssociatedToMultipleServices",
    level: "Warning",
    about: "Several Services of one workload have the same port with different protocols.",
  },
  IST0118: {
    name: "PortNameIsNotUnderNamingConvention",
    level: "Info",
    about:
      "The port says no protocol, neither by `appProtocol` nor by the first part of its name (`http`, `grpc`, `tcp`, …). Waypoints then look at the first bytes, which a protocol in which the server speaks first does not have.",
  },
  IST0123: {
    name: "NamespaceMultipleInjectionLabels",
    level: "Warning",
    about: "The namespace asks for sidecars and for the mesh without them at once. Pods with a sidecar are left alone.",
  },
  IST0125: {
    name: "InvalidAnnotation",
    level: "Warning",
    about: "The value of an annotation makes no sense; it is as if it were not there.",
  },
  IST0127: {
    name: "NoMatchingWorkloadsFound",
    level: "Warning",
    about: "The selector matches no workload of the namespace (of the mesh, in the root namespace).",
  },
  IST0128: {
    name: "NoServerCertificateVerificationDestinationLevel",
    level: "Warning",
    about: "TLS to the host without verification of the server's certificate: `insecureSkipVerify` is set.",
  },
  IST0129: {
    name: "NoServerCertificateVerificationPortLevel",
    level: "Warning",
    about: "The same for one port of the host.",
  },
  IST0130: {
    name: "VirtualServiceUnreachableRule",
    level: "Warning",
    about: "An earlier rule takes everything that this one could match.",
  },
  IST0131: {
    name: "VirtualServiceIneffectiveMatch",
    level: "Info",
    about: "An earlier rule takes everything that one of the matches of this rule could match.",
  },
  IST0133: {
    name: "SchemaWarning",
    level: "Warning",
    about: "The object is valid, but a part of it does not do here what it says; the message tells which and why.",
  },
  IST0134: {
    name: "ServiceEntryAddressesRequired",
    level: "Warning",
    about:
      'A port that is plain TCP, and no address to know its connections by: none is given, and none is allocated either (resolution NONE, or label `networking.istio.io/enable-autoallocate-ip: "false"`).',
  },
  IST0135: {
    name: "DeprecatedAnnotation",
    level: "Info",
    about: "An annotation that something else has replaced.",
  },
  IST0137: {
    name: "DeploymentConflictingPorts",
    level: "Warning",
    about: "Several Services reach the same port of one workload by different ports.",
  },
  IST0139: {
    name: "InvalidWebhook",
    level: "Error",
    about: "A webhook of the mesh names a Service that does not exist: whatever it is for is refused, or not checked.",
  },
  IST0141: {
    name: "InsufficientPermissions",
    level: "Error",
    about: "Objects that analysis needs cannot be read with your rights; the message names the kind.",
  },
  IST0149: {
    name: "JwtClaimBasedRoutingWithoutRequestAuthN",
    level: "Error",
    about:
      "A rule matches claims of a token, and no RequestAuthentication is for the service or its waypoint: no request has claims.",
  },
  IST0157: {
    name: "InvalidTelemetryProvider",
    level: "Warning",
    about: "A Telemetry names a provider that `meshConfig.extensionProviders` does not have.",
  },
  IST0160: {
    name: "MultipleTelemetriesWithoutWorkloadSelectors",
    level: "Error",
    about: "Several Telemetries are for a whole namespace; one alone may be.",
  },
  IST0166: {
    name: "IneffectiveSelector",
    level: "Warning",
    about: "A selector matches pods of a waypoint: waypoints take policies by `targetRefs` alone.",
  },
  IST0167: {
    name: "IneffectivePolicy",
    level: "Warning",
    about:
      "Nobody executes the object: it needs a waypoint and what it is for is behind none, it asks for what only other proxies do, or nothing here executes its kind.",
  },
  IST0171: {
    name: "NegativeConditionStatus",
    level: "Warning",
    about: "A controller says in the object's status that something is wrong with it.",
  },
  IST0173: {
    name: "DestinationRuleSubsetNotSelectPods",
    level: "Error",
    about: "The labels of a subset match none of the host's workloads.",
  },
  IST0174: {
    name: "UnknownDestinationRuleHost",
    level: "Warning",
    about: "No service has the host of the DestinationRule.",
  },
  IST0177: {
    name: "ConflictingServiceEntryProtocol",
    level: "Warning",
    about: "Several ServiceEntries have the same host and port with different protocols.",
  },
} as const satisfies Readonly<Record<string, CodeEntry>>;

export type Code = keyof typeof CODES;

/** Of Istio's: those that are about what this mesh does not have, and why. For docs/reference/analysis.md. */
export const CODES_WITHOUT_MEANING: readonly (readonly [codes: string, why: string])[] = [
  ["IST0110, IST0111", "the kind Sidecar configures sidecars (such objects are told of by IST0167)"],
  ["IST0126, IST0163, IST0164, IST0170", "several clusters, or a control plane outside of the cluster"],
  ["IST0132, IST0138, IST0140, IST0145, IST0161, IST0162, IST0165", "ingress gateways of Istio's kind Gateway"],
  ["IST0136", "no annotation in an early state is known"],
  ["IST0142, IST0156, IST0172, IST0176", "versions of the cluster and of the Gateway API: `weft check`"],
  ["IST0143, IST0144", "capture is by network namespace: an application may listen where and run as whom it likes"],
  ["IST0146, IST0147, IST0148, IST0158", "injection of sidecars"],
  ["IST0150", "a Service of type ExternalName is an alias in DNS and no more"],
  ["IST0151 – IST0155", "patches of Envoy's configuration"],
  ["IST0159", "a Telemetry with a selector is for sidecars (told of by IST0166 and IST0167)"],
  ["IST0168, IST0169", "upgrades of Istio"],
  ["IST0175", "addresses of this network are refused by default (`PILOT_BLOCKED_CIDRS_IN_JWKS_URIS`)"],
];
