"""The shape of the built-in kinds, as far as the server looks at it, in the words of OpenAPI.

Three things come from it: objects of the wrong shape are refused, lists of objects are merged by the right key, and
kubectl gets an OpenAPI document. Fields that are not here are kept as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

LIST_TYPE = "x-kubernetes-list-type"
LIST_KEYS = "x-kubernetes-list-map-keys"
PATCH_KEY = "x-kubernetes-patch-merge-key"
PATCH_STRATEGY = "x-kubernetes-patch-strategy"
INT_OR_STRING_MARK = "x-kubernetes-int-or-string"
PRESERVE = "x-kubernetes-preserve-unknown-fields"

ANY: Schema = {PRESERVE: True}
STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
MICRO_TIME: Schema = {"type": "string", "format": "micro-time"}
TRANSPORT: Schema = {"type": "string", "default": "TCP"}
INT_OR_STRING: Schema = {INT_OR_STRING_MARK: True}


def struct(**fields: Schema) -> Schema:
    """An object with these fields, and maybe others. A trailing underscore of a field's name is dropped."""
    return {"type": "object", "properties": {name.rstrip("_"): field for name, field in fields.items()}}


def mapping(values: Schema) -> Schema:
    """An object with any keys."""
    return {"type": "object", "additionalProperties": values}


def sequence(items: Schema) -> Schema:
    """A list that is replaced as a whole."""
    return {"type": "array", "items": items, LIST_TYPE: "atomic"}


def members(items: Schema) -> Schema:
    """A list of distinct plain values, merged as a set."""
    return {"type": "array", "items": items, LIST_TYPE: "set", PATCH_STRATEGY: "merge"}


def keyed(items: Schema, key: str, *more_keys: str) -> Schema:
    """A list of objects. Strategic patches tell them apart by `key`, server-side apply by all the keys."""
    return {
        "type": "array",
        "items": items,
        LIST_TYPE: "map",
        LIST_KEYS: [key, *more_keys],
        PATCH_KEY: key,
        PATCH_STRATEGY: "merge",
    }


def child_of(schema: Schema, field: str) -> Schema:
    """The schema of a field; ANY when nothing is said about it."""
    found: Schema | None = schema.get("properties", {}).get(field)
    if found is None:
        additional = schema.get("additionalProperties")
        return additional if isinstance(additional, Mapping) else ANY
    return found


def item_of(schema: Schema) -> Schema:
    """The schema of a list's items."""
    found: Schema = schema.get("items", ANY)
    return found


def merge_key(schema: Schema) -> str | None:
    """What a strategic patch tells a list's items apart by: a key, "" for the item itself, None when it replaces."""
    if schema.get(PATCH_STRATEGY) != "merge":
        return None
    key: str = schema.get(PATCH_KEY, "")
    return key


STRINGS = mapping(STRING)
CONDITIONS = keyed(struct(type_=STRING, status=STRING), "type")

METADATA = struct(
    name=STRING,
    generateName=STRING,
    namespace=STRING,
    uid=STRING,
    resourceVersion=STRING,
    creationTimestamp=TIME,
    deletionTimestamp=TIME,
    deletionGracePeriodSeconds=INTEGER,
    generation=INTEGER,
    labels=STRINGS,
    annotations=STRINGS,
    finalizers=members(STRING),
    ownerReferences=keyed(struct(apiVersion=STRING, kind=STRING, name=STRING, uid=STRING), "uid"),
    managedFields=sequence(
        struct(
            manager=STRING, operation=STRING, apiVersion=STRING, time=TIME, fieldsV1=mapping(ANY), subresource=STRING
        )
    ),
)

PORT = struct(
    name=STRING, protocol=TRANSPORT, appProtocol=STRING, port=INTEGER, targetPort=INT_OR_STRING, nodePort=INTEGER
)
SERVICE = struct(
    spec=struct(
        type_=STRING,
        clusterIP=STRING,
        clusterIPs=sequence(STRING),
        ipFamilies=sequence(STRING),
        ipFamilyPolicy=STRING,
        ports=keyed(PORT, "port", "protocol"),
        selector=STRINGS,
        sessionAffinity=STRING,
        externalIPs=sequence(STRING),
        externalName=STRING,
        externalTrafficPolicy=STRING,
        internalTrafficPolicy=STRING,
        healthCheckNodePort=INTEGER,
        loadBalancerIP=STRING,
        loadBalancerClass=STRING,
        loadBalancerSourceRanges=sequence(STRING),
        allocateLoadBalancerNodePorts=BOOLEAN,
        publishNotReadyAddresses=BOOLEAN,
    ),
    status=struct(
        loadBalancer=struct(ingress=sequence(struct(ip=STRING, hostname=STRING, ipMode=STRING, ports=sequence(ANY)))),
        conditions=CONDITIONS,
    ),
)

CONTAINER = struct(
    name=STRING,
    image=STRING,
    command=sequence(STRING),
    args=sequence(STRING),
    ports=keyed(struct(name=STRING, containerPort=INTEGER, protocol=TRANSPORT), "containerPort", "protocol"),
    env=keyed(struct(name=STRING, value=STRING), "name"),
    volumeMounts=keyed(struct(name=STRING, mountPath=STRING), "mountPath"),
    resources=struct(limits=mapping(ANY), requests=mapping(ANY)),
)
POD_SPEC = struct(
    nodeName=STRING,
    nodeSelector=STRINGS,
    hostNetwork=BOOLEAN,
    restartPolicy=STRING,
    serviceAccountName=STRING,
    terminationGracePeriodSeconds=INTEGER,
    containers=keyed(CONTAINER, "name"),
    initContainers=keyed(CONTAINER, "name"),
    volumes=keyed(struct(name=STRING), "name"),
    imagePullSecrets=keyed(struct(name=STRING), "name"),
    hostAliases=keyed(struct(ip=STRING, hostnames=sequence(STRING)), "ip"),
    tolerations=sequence(struct(key=STRING, operator=STRING, effect=STRING)),
)
POD = struct(
    spec=POD_SPEC,
    status=struct(
        phase=STRING,
        podIP=STRING,
        podIPs=keyed(struct(ip=STRING), "ip"),
        hostIP=STRING,
        conditions=CONDITIONS,
        containerStatuses=sequence(struct(name=STRING, ready=BOOLEAN, restartCount=INTEGER, state=mapping(ANY))),
    ),
)
TEMPLATE = struct(metadata=METADATA, spec=POD_SPEC)
LABEL_SELECTOR = struct(
    matchLabels=STRINGS, matchExpressions=sequence(struct(key=STRING, operator=STRING, values=sequence(STRING)))
)
WORKLOAD = struct(
    spec=struct(
        replicas=INTEGER,
        selector=LABEL_SELECTOR,
        template=TEMPLATE,
        serviceName=STRING,
        minReadySeconds=INTEGER,
        revisionHistoryLimit=INTEGER,
    ),
    status=struct(
        conditions=CONDITIONS,
        observedGeneration=INTEGER,
        replicas=INTEGER,
        readyReplicas=INTEGER,
        updatedReplicas=INTEGER,
        availableReplicas=INTEGER,
        desiredNumberScheduled=INTEGER,
        currentNumberScheduled=INTEGER,
        numberReady=INTEGER,
        numberAvailable=INTEGER,
        updatedNumberScheduled=INTEGER,
    ),
)
NODE = struct(
    spec=struct(
        podCIDR=STRING,
        podCIDRs=members(STRING),
        unschedulable=BOOLEAN,
        taints=sequence(struct(key=STRING, value=STRING, effect=STRING)),
    ),
    status=struct(
        conditions=CONDITIONS,
        addresses=keyed(struct(type_=STRING, address=STRING), "type"),
        nodeInfo=STRINGS,
    ),
)
NAMESPACE = struct(spec=struct(finalizers=sequence(STRING)), status=struct(phase=STRING, conditions=CONDITIONS))
CONFIG_MAP = struct(data=STRINGS, binaryData=STRINGS, immutable=BOOLEAN)
SECRET = struct(data=STRINGS, stringData=STRINGS, type_=STRING, immutable=BOOLEAN)
SERVICE_ACCOUNT = struct(secrets=keyed(struct(name=STRING), "name"), imagePullSecrets=sequence(struct(name=STRING)))
OBJECT_REFERENCE = struct(kind=STRING, namespace=STRING, name=STRING, uid=STRING, apiVersion=STRING)
ENDPOINT_ADDRESS = struct(ip=STRING, hostname=STRING, nodeName=STRING, targetRef=OBJECT_REFERENCE)
ENDPOINTS = struct(
    subsets=sequence(
        struct(
            addresses=sequence(ENDPOINT_ADDRESS),
            notReadyAddresses=sequence(ENDPOINT_ADDRESS),
            ports=sequence(struct(name=STRING, port=INTEGER, protocol=STRING)),
        )
    )
)
ENDPOINT_SLICE = struct(
    addressType=STRING,
    endpoints=sequence(
        struct(
            addresses=sequence(STRING),
            conditions=struct(ready=BOOLEAN, serving=BOOLEAN, terminating=BOOLEAN),
            nodeName=STRING,
            zone=STRING,
            targetRef=OBJECT_REFERENCE,
        )
    ),
    ports=sequence(struct(name=STRING, port=INTEGER, protocol=STRING, appProtocol=STRING)),
)
LEASE = struct(
    spec=struct(
        holderIdentity=STRING,
        leaseDurationSeconds=INTEGER,
        acquireTime=MICRO_TIME,
        renewTime=MICRO_TIME,
        leaseTransitions=INTEGER,
    )
)
EVENT = struct(
    involvedObject=OBJECT_REFERENCE,
    reason=STRING,
    message=STRING,
    type_=STRING,
    count=INTEGER,
    source=struct(component=STRING, host=STRING),
    firstTimestamp=TIME,
    lastTimestamp=TIME,
    eventTime=MICRO_TIME,
    action=STRING,
    reportingComponent=STRING,
    reportingInstance=STRING,
    related=OBJECT_REFERENCE,
    series=struct(count=INTEGER, lastObservedTime=MICRO_TIME),
)
ROLE = struct(rules=sequence(struct(verbs=sequence(STRING), apiGroups=sequence(STRING), resources=sequence(STRING))))
ROLE_BINDING = struct(
    subjects=sequence(struct(kind=STRING, name=STRING, namespace=STRING)),
    roleRef=struct(apiGroup=STRING, kind=STRING, name=STRING),
)
DEFINITION = struct(
    spec=struct(
        group=STRING,
        scope=STRING,
        names=struct(
            plural=STRING, singular=STRING, kind=STRING, listKind=STRING, shortNames=sequence(STRING),
            categories=sequence(STRING),
        ),
        versions=sequence(
            struct(
                name=STRING,
                served=BOOLEAN,
                storage=BOOLEAN,
                schema=struct(openAPIV3Schema=mapping(ANY)),
                subresources=struct(status=mapping(ANY), scale=mapping(ANY)),
                additionalPrinterColumns=sequence(struct(name=STRING, type_=STRING, jsonPath=STRING, priority=INTEGER)),
            )
        ),
    ),
    status=struct(conditions=CONDITIONS),
)  # fmt: skip
